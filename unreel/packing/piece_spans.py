"""How a video is cut into pieces: the frames, the size in pixels and the key of each piece."""

import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.video.sampling.timeline import compute_frame_duration


@dataclass(frozen=True)
class FrameSpan:
    """Frames `start_frame` to `stop_frame` - 1 of a video: piece `piece_number` of `num_pieces`."""

    piece_number: int
    num_pieces: int
    start_frame: int
    stop_frame: int


def count_pieces(duration_s: float, segment_s: float) -> int:
    """1 for a video of up to 1.5 segments, else the number of pieces of about one segment each.

    >>> count_pieces(90.0, segment_s=60.0), count_pieces(200.0, segment_s=60.0)
    (1, 3)
    """
    return 1 if duration_s <= 1.5 * segment_s else round(duration_s / segment_s)


def split_into_spans(times_s: np.ndarray, max_pieces: int) -> list[FrameSpan]:
    """At most `max_pieces` spans of equal duration that cover every frame once, each of two frames or more."""
    duration_s = float(times_s[-1]) + compute_frame_duration(times_s, default_s=1.0)
    edges = [0]
    for start_s in np.linspace(0, duration_s, max_pieces + 1)[1:-1]:
        frame = int(np.searchsorted(times_s, start_s - 1e-6))
        if frame >= edges[-1] + 2 and frame <= len(times_s) - 2:
            edges.append(frame)
    pairs = list(itertools.pairwise([*edges, len(times_s)]))
    return [FrameSpan(number, len(pairs), start, stop) for number, (start, stop) in enumerate(pairs)]


def compute_piece_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(height, width) of a piece: even, the shorter side `short_side`, never larger than the original.

    >>> compute_piece_size(1920, 1080, short_side=128)
    (128, 228)
    """
    scale = min(1.0, short_side / min(width, height))
    rounding = 0.5 if scale < 1 else 0
    piece_height, piece_width = (2 * max(1, math.floor(side * scale / 2 + rounding)) for side in (height, width))
    return piece_height, piece_width


def build_key(video_number: int, piece_number: int, path: str) -> str:
    """A key that sorts in the order of the corpus; the file's name at its end is for people.

    >>> build_key(3, 0, "/videos/a dog.mp4")
    '00000003-00000-a-dog'
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(path).stem).strip("-")[:40]
    return f"{video_number:08d}-{piece_number:05d}" + (f"-{name}" if name else "")
