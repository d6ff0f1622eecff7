"""Moments as moving pictures: a contact sheet and a short looping preview of several, and the frames of one."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from unreel.errors import DiskError, VideoError
from unreel.video.file import index_frames, probe, read, write
from unreel.video.processes import Limits, each_done

HEIGHT, WIDTH = 108, 144
ACROSS, SHEET_FRAMES = 3, 6  # previews side by side; frames of each moment on a contact sheet
FRAMES, FPS = 20, 10  # of a preview, whatever the length of its moments
GAP, GREY = 2, 128


class Moment(NamedTuple):
    """Seconds of a video."""

    path: str
    start_s: float
    end_s: float


def frames_of(moment: Moment) -> np.ndarray | None:
    """Frames evenly spread over a moment, whole pictures with grey beside them, uint8 (FRAMES, HEIGHT, WIDTH, 3).

    None when the file can't be read any more.
    """
    try:
        times_s = index_frames(moment.path).times_s
        inside = np.flatnonzero((times_s >= moment.start_s - 1e-6) & (times_s < moment.end_s - 1e-6))
        if not len(inside):
            return None
        spread = inside[np.linspace(0, len(inside) - 1, FRAMES).round().astype(int)]
        wanted, where = np.unique(spread, return_inverse=True)
        info = probe(moment.path)
        shown = read(moment.path, wanted, fitting(info.height, info.width))
    except (VideoError, OSError):
        return None
    framed = np.full((len(shown), HEIGHT, WIDTH, 3), GREY, np.uint8)
    top, left = (HEIGHT - shown.shape[1]) // 2, (WIDTH - shown.shape[2]) // 2
    framed[:, top : top + shown.shape[1], left : left + shown.shape[2]] = shown
    return framed[where]


def fitting(height: int, width: int) -> tuple[int, int]:
    """The largest size of this shape within HEIGHT x WIDTH."""
    scale = min(HEIGHT / height, WIDTH / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def sheet(shown: Sequence[np.ndarray]) -> np.ndarray:
    """A row of frames from left to right for each moment, uint8 (H, W, 3)."""
    at = np.linspace(0, FRAMES - 1, SHEET_FRAMES).round().astype(int)
    return tiled([frames[k] for frames in shown for k in at], SHEET_FRAMES)


def preview(shown: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Moments side by side at the same time, once through; FRAMES pictures uint8 (H, W, 3)."""
    return [tiled([frames[k] for frames in shown], min(ACROSS, len(shown))) for k in range(FRAMES)]


def tiled(pictures: Sequence[np.ndarray], across: int) -> np.ndarray:
    """Pictures of one size in rows of `across`, a gap between them."""
    down = -(-len(pictures) // across)
    board = np.full((down * (HEIGHT + GAP) - GAP, across * (WIDTH + GAP) - GAP, 3), GREY, np.uint8)
    for n, picture in enumerate(pictures):
        top, left = n // across * (HEIGHT + GAP), n % across * (WIDTH + GAP)
        board[top : top + HEIGHT, left : left + WIDTH] = picture
    return board


def write_moments(moments: Sequence[Moment], stem: Path) -> int:
    """STEM.jpg, the contact sheet, and STEM.mp4, the preview, of those that can be read; how many. Raises DiskError."""
    found = each_done(frames_of, moments, (), 1, lambda moment: Limits().reading(moment.path))
    shown = [frames for _, frames in found if isinstance(frames, np.ndarray)]
    if shown:
        good, data = cv2.imencode(".jpg", sheet(shown)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
        assert good
        try:
            stem.with_suffix(".jpg").write_bytes(data.tobytes())
        except OSError as error:
            raise DiskError(f"{stem.with_suffix('.jpg')}: can't be written ({error.strerror})") from error
        write(stem.with_suffix(".mp4"), preview(shown), FPS, crf=30, gop=FRAMES)
    return len(shown)


def embedded(path: Path) -> str:
    """A picture or a video as a data URI; empty when there is none."""
    if not path.is_file():
        return ""
    kind = {".jpg": "image/jpeg", ".mp4": "video/mp4"}[path.suffix]
    return f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode()
