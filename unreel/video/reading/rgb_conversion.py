"""Convert decoded frames to upright RGB arrays."""

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter as Scaler

from unreel.errors import VideoError
from unreel.video.reading.frame_reader import describe_error

# By default PyAV 17 and later scale with as many threads as there are cores.
SCALER_OPTIONS: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


class Orientation(NamedTuple):
    """How a stored picture becomes the one that players show: swap rows and columns, then flip rows, flip columns."""

    is_transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    @property
    def rotation(self) -> int:
        """Clockwise degrees: 0, 90, 180 or 270; those of the rotation that follows a flip of columns, if mirrored."""
        if self.is_transposed:
            return 90 if not self.flips_rows else 270
        return 180 if self.flips_rows else 0

    def orient(self, picture: np.ndarray) -> np.ndarray:
        """The picture as shown, (H, W, 3)."""
        if self == UPRIGHT:
            return picture
        if self.is_transposed:
            picture = picture.swapaxes(0, 1)
        return np.ascontiguousarray(picture[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1])


UPRIGHT = Orientation()


def convert_to_rgb(path: str | Path, frame: av.VideoFrame, size: tuple[int, int] | None, scaler: Scaler) -> np.ndarray:
    """RGB of a frame as players show it, scaled to `size` (height, width) where given; uint8 (H, W, 3).

    Raises VideoError.
    """
    orientation = read_orientation(frame)
    height, width = (frame.height, frame.width) if size is None else swap_if_transposed(*size, orientation)
    try:
        rgb = scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", **SCALER_OPTIONS)
    except av.FFmpegError as error:
        raise VideoError(
            str(path), "damaged", f"a picture that can't be turned into RGB: {describe_error(error)}"
        ) from error
    return orientation.orient(rgb.to_ndarray())


def hash_picture(path: str | Path, frame: av.VideoFrame) -> int:
    """A checksum of a frame's RGB values. Raises VideoError."""
    return zlib.crc32(convert_to_rgb(path, frame, None, Scaler()).tobytes())


def read_orientation(frame: av.VideoFrame) -> Orientation:
    """How players turn and mirror the frame, by its display matrix: column p, row q is shown at (ap + cq, bp + dq).

    Source: ISO/IEC 14496-12, 8.3.2; the numbers are 16.16 fixed point. Other angles count as the nearest quarter turn.
    """
    side_data = frame.side_data
    matrix: Any = side_data.get("DISPLAYMATRIX") if len(side_data) else None  # most frames have none, and many are read
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, flips_rows=b < 0, flips_columns=c < 0)
    return Orientation(False, flips_rows=d < 0, flips_columns=a < 0)


def swap_if_transposed(height: int, width: int, orientation: Orientation) -> tuple[int, int]:
    """Height and width before a turn, from those after it, and the other way round."""
    return (width, height) if orientation.is_transposed else (height, width)


def subsample_chroma(picture: np.ndarray) -> np.ndarray:
    """An RGB picture (H, W, 3) of even height and width after 4:2:0 chroma subsampling, without any coding."""
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p").to_ndarray(format="rgb24")
