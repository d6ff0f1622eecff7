"""Properties of a video file (size, rate, duration, rotation), whether its frames decode; codecs that are missing."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

from unreel.video.decoding.packet_index import MAX_FPS, MAX_MEAN_FRAME_S, index_frames
from unreel.video.reading.container import open_container, open_reader
from unreel.video.reading.frame_reader import MAX_DECODE_AHEAD_FRAMES
from unreel.video.reading.frame_times import NO_TIMESTAMP
from unreel.video.reading.rgb_conversion import read_orientation, swap_if_transposed
from unreel.video.sources.paths import is_synthetic
from unreel.video.sources.source import open_source
from unreel.video.synthetic.drawn_video import FPS, NUM_FRAMES, SIZE

CHECK_WINDOW_FRAMES = 8


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file.

    Width and height are those of the picture as players show it, after the clockwise `rotation` (0, 90, 180 or 270
    degrees). `cut_off` says what is missing at the end of a file that was cut off.
    """

    codec: str
    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    rotation: int
    variable_fps: bool
    size_bytes: int
    cut_off: str = ""


def probe(path: str | Path) -> VideoInfo:
    """Read the properties of a file from its header, one demux pass and its first frame, which has the rotation.

    Raises VideoError when the file can't be used.

    >>> info = probe(video)
    >>> info.codec, info.width, info.height, info.fps, info.duration_s
    ('h264', 48, 32, 25.0, 0.8)
    """
    index = index_frames(path)
    if is_synthetic(path):
        return VideoInfo("drawn", SIZE[1], SIZE[0], FPS, NUM_FRAMES, NUM_FRAMES / FPS, 0, False, 0)
    with closing(open_reader(path, index)) as reader:
        frame, stream = reader.read_frame(0), reader.stream
        orientation, header_fps, fps = read_orientation(frame), stream.average_rate, index.fps
        height, width = swap_if_transposed(frame.height, frame.width, orientation)
        # Time stamps are often rounded to milliseconds: the header is more exact where the two agree.
        is_single = index.num_frames == 1 and 1 / MAX_MEAN_FRAME_S <= (header_fps or 0) <= MAX_FPS
        if header_fps and (is_single or abs(header_fps / fps - 1) < 0.01):
            fps = float(header_fps)
        return VideoInfo(
            codec=stream.codec.canonical_name,
            width=width,
            height=height,
            fps=fps,
            num_frames=index.num_frames,
            duration_s=float(index.times_s[-1]) + 1 / fps,
            rotation=orientation.rotation,
            variable_fps=index.is_variable(float(stream.time_base or 0)),
            size_bytes=open_source(path).check().size_bytes,
            cut_off=index.cut_off,
        )


def read_timestamps(path: str | Path) -> tuple[np.ndarray, Fraction]:
    """Times of all frames in ticks, int64 (L,) ascending from 0, and the seconds of a tick.

    They are exact where the container's own stamps are used as they are; otherwise to a microsecond.
    """
    index = index_frames(path)
    container, stream = open_container(str(path))
    with closing(container):
        tick = stream.time_base
    if len(index.packet_timestamps) and tick:
        ticks = index.packet_timestamps[index.frame_packets]
        if ticks[0] != NO_TIMESTAMP and np.allclose((ticks - ticks[0]) * float(tick), index.times_s - index.times_s[0]):
            return ticks - ticks[0], Fraction(tick)
    return np.round((index.times_s - index.times_s[0]) * 1e6).astype(np.int64), Fraction(1, 1_000_000)


def check_decodable(path: str | Path, all_frames: bool) -> None:
    """Decode all frames of a file, or a window at its start, middle and end. Raises VideoError at the first fault."""
    if is_synthetic(path):
        return
    index = index_frames(path)
    num_frames = index.num_frames
    starts = [0] if all_frames else [0, (num_frames - CHECK_WINDOW_FRAMES) // 2, num_frames - CHECK_WINDOW_FRAMES]
    span, max_ahead = (num_frames, num_frames) if all_frames else (CHECK_WINDOW_FRAMES, MAX_DECODE_AHEAD_FRAMES)
    numbers = {i for start in starts for i in range(max(0, start), min(max(0, start) + span, num_frames))}
    with closing(open_reader(path, index)) as reader:
        for i in sorted(numbers):
            reader.read_frame(i, max_ahead)


def find_missing_codecs(names: Iterable[str], mode: Literal["r", "w"]) -> list[str]:
    """Those of the codecs that this build of FFmpeg can't decode ("r") or encode ("w").

    >>> find_missing_codecs(["h264", "no-such-codec"], "r")
    ['no-such-codec']
    """
    missing = []
    for name in names:
        try:
            av.Codec(name, mode)
        except av.codec.codec.UnknownCodecError:
            missing.append(name)
    return missing
