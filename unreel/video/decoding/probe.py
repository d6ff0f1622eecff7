"""Properties of a video file (size, rate, duration, rotation), and whether its frames decode."""

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from unreel.video.decoding.container import open_container, open_reader
from unreel.video.decoding.frame_reader import MAX_DECODE_AHEAD_FRAMES
from unreel.video.decoding.packet_index import MAX_FPS, MAX_MEAN_FRAME_S, index_frames
from unreel.video.decoding.rgb_conversion import read_rotation, swap_if_rotated
from unreel.video.sources.paths import is_synthetic
from unreel.video.sources.source import open_source
from unreel.video.synthetic.drawn_video import FPS, NUM_FRAMES, SIZE

CHECK_WINDOW_FRAMES = 8


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file.

    Width and height are those of the upright picture, after the clockwise `rotation` (0, 90, 180 or 270 degrees) that
    players apply.
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
        rotation, header_fps, fps = read_rotation(frame), stream.average_rate, index.fps
        height, width = swap_if_rotated(frame.height, frame.width, rotation)
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
            rotation=rotation,
            variable_fps=index.is_variable(float(stream.time_base or 0)),
            size_bytes=open_source(path).check().size_bytes,
        )


def read_timestamps(path: str | Path) -> tuple[np.ndarray, Fraction]:
    """Times of all frames in ticks, int64 (L,) ascending from 0, and the seconds of a tick; both exact."""
    index = index_frames(path)
    container, stream = open_container(str(path))
    with closing(container):
        tick, rate = stream.time_base, stream.average_rate or stream.guessed_rate or Fraction(25)
    if not len(index.packet_timestamps) or tick is None:
        return np.arange(index.num_frames), 1 / Fraction(rate)
    ticks = np.sort(index.packet_timestamps[index.frame_packets])
    return ticks - ticks[0], Fraction(tick)


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
