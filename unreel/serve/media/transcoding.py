"""Posters and short H.264 clips of a video; runs in worker processes (warm_workers.py)."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from unreel.errors import InputError, UnreelError, VideoError
from unreel.indexing.search.query_encoder import is_image
from unreel.types import FileFailure
from unreel.video.decoding.decoder import iter_frames, read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import probe, read_timestamps
from unreel.video.decoding.writer import EncodingOptions, write_timed_video
from unreel.video.sources.pictures import read_picture

POSTER_HEIGHT, JPEG_QUALITY = 240, 82
PREVIEW_SIDE, PREVIEW_CRF, CLIP_CRF = 480, 26, 20
MAX_PREVIEW_S = 60.0
MAX_SIDE = 1 << 14


def make_poster(path: str, at_s: float) -> bytes:
    """The frame at a time, as JPEG. Raises VideoError."""
    index, info = index_frames(path), probe(path)
    number = int(np.searchsorted(index.times_s, at_s, side="right")) - 1
    size = fit_size(info.height, info.width, POSTER_HEIGHT)
    picture = read_frames(path, [min(max(number, 0), index.num_frames - 1)], size)[0]
    done, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return data.tobytes()


def make_preview(path: str, start_s: float, end_s: float) -> bytes:
    """At most MAX_PREVIEW_S seconds as a small mp4 that every browser plays. Raises VideoError, InputError."""
    return encode_span(path, start_s, min(end_s, start_s + MAX_PREVIEW_S), PREVIEW_SIDE, PREVIEW_CRF)


def cut_clip(path: str, start_s: float, end_s: float) -> bytes:
    """These seconds as an mp4 with the original picture size. Raises VideoError, InputError."""
    return encode_span(path, start_s, end_s, MAX_SIDE, CLIP_CRF)


def encode_span(path: str, start_s: float, end_s: float, max_side: int, crf: int) -> bytes:
    """Encode the frames from `start_s` to `end_s` with their time stamps, scaled so that no side exceeds `max_side`."""
    index, info = index_frames(path), probe(path)
    first, last = find_frame_range(index.times_s, start_s, end_s)
    ticks, tick = read_timestamps(path)

    def iter_timed_frames() -> Iterator[tuple[int, np.ndarray]]:
        size = fit_size(info.height, info.width, max_side)
        for number, picture in enumerate(iter_frames(path, first, last, size), start=first):
            yield int(ticks[number] - ticks[first]), picture

    rate = Fraction(info.fps).limit_denominator(1001)
    coding = EncodingOptions(tick, rate, "libx264", {"crf": str(crf), "preset": "veryfast", "g": "50"})
    with TemporaryDirectory() as folder:
        out = Path(folder) / "cut.mp4"
        write_timed_video(out, iter_timed_frames(), coding)
        return out.read_bytes()


def find_frame_range(times_s: np.ndarray, start_s: float, end_s: float) -> tuple[int, int]:
    """First frame shown between two times, and the one after the last. Raises InputError."""
    if not start_s < end_s:
        raise InputError(f"a moment must end after its start, got {start_s:g} s to {end_s:g} s")
    first = max(0, int(np.searchsorted(times_s, start_s + 1e-6, side="right")) - 1)
    last = int(np.searchsorted(times_s, end_s - 1e-6))
    return first, max(last, first + 1)


def fit_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Height and width, even numbers, neither above `max_side` and never enlarged."""
    scale = min(1.0, max_side / max(height, width))
    return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


def probe_duration_s(path: str) -> float:
    """Duration of a query; 1 s for a picture. Raises VideoError, or InputError for a bad picture."""
    if is_image(path):
        read_picture(path)
        return 1.0
    return probe(path).duration_s


def make_query_error(name: str, error: UnreelError) -> InputError:
    """An error about an upload by its own file name, without its path on the server."""
    reason = str(FileFailure.from_error(error) if isinstance(error, VideoError) else error)
    return InputError(f"{name or 'the file'}: no video to search with ({reason})")
