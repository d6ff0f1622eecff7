"""A strip of frames of a video as data URIs."""

import base64

import cv2
import numpy as np

from unreel.errors import VideoError
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import probe

NUM_FRAMES, STRIP_WIDTH, JPEG_QUALITY = 6, 144, 78


MAX_HEIGHT = 10 * STRIP_WIDTH  # taller frames are squeezed


ASPECT_LIMITS = (
    1.0,
    1.8,
)  # what a strip shows of a frame, width by height; the rest of a taller or wider one is cropped


def read_strip(path: str, start_s: float = 0.0, end_s: float = float("inf")) -> list[str]:
    """Frames evenly spread over a part of a video, as data URIs of JPEG; none when the file can't be read."""
    try:
        times_s = index_frames(path).times_s
        inside = np.flatnonzero((times_s >= start_s - 1e-6) & (times_s < end_s))
        if not len(inside):
            return []
        wanted = inside[np.linspace(0, len(inside) - 1, NUM_FRAMES + 2).round().astype(int)[1:-1]]
        info = probe(path)
        shown, where = np.unique(wanted, return_inverse=True)
        frames = read_frames(
            path, shown, (min(max(16, round(STRIP_WIDTH * info.height / info.width)), MAX_HEIGHT), STRIP_WIDTH)
        )
    except (VideoError, OSError):
        return []
    return [encode_jpeg(crop_to_aspect(frame)) for frame in frames[where]]


def crop_to_aspect(frame: np.ndarray) -> np.ndarray:
    """The middle of a frame (H, W, C) whose aspect is outside of ASPECTS."""
    height, width = frame.shape[:2]
    keep_h, keep_w = min(height, round(width / ASPECT_LIMITS[0])), min(width, round(height * ASPECT_LIMITS[1]))
    top, left = (height - keep_h) // 2, (width - keep_w) // 2
    return frame[top : top + keep_h, left : left + keep_w]


def encode_jpeg(frame: np.ndarray) -> str:
    """A uint8 RGB picture (H, W, C) as a data URI."""
    good, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert good
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
