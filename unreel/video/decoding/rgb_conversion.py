"""Convert decoded frames to upright RGB arrays."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter as Scaler

from unreel.errors import VideoError
from unreel.video.decoding.frame_reader import describe_error

# By default PyAV 17 and later scale with as many threads as there are cores.
SCALER_OPTIONS: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


def convert_to_rgb(path: str | Path, frame: av.VideoFrame, size: tuple[int, int] | None, scaler: Scaler) -> np.ndarray:
    """Upright RGB of a frame, scaled to `size` (height, width) where given; uint8 (H, W, 3). Raises VideoError."""
    rotation = read_rotation(frame)
    height, width = (frame.height, frame.width) if size is None else swap_if_rotated(*size, rotation)
    try:
        rgb = scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", **SCALER_OPTIONS)
    except av.FFmpegError as error:
        raise VideoError(
            str(path), "damaged", f"a picture that can't be turned into RGB: {describe_error(error)}"
        ) from error
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), -rotation // 90))


def read_rotation(frame: av.VideoFrame) -> int:
    """The clockwise rotation that makes the frame upright: 0, 90, 180 or 270 degrees."""
    return round(-frame.rotation / 90) * 90 % 360


def swap_if_rotated(height: int, width: int, rotation: int) -> tuple[int, int]:
    """Height and width before a rotation, from those after it, and the other way round."""
    return (width, height) if rotation in (90, 270) else (height, width)


def subsample_chroma(picture: np.ndarray) -> np.ndarray:
    """An RGB picture (H, W, 3) of even height and width after 4:2:0 chroma subsampling, without any coding."""
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p").to_ndarray(format="rgb24")
