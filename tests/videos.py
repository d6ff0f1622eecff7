"""Test videos whose frames carry their own number, in every container and codec that people bring.

A frame is a grid of 4 x 6 black and white cells: ten bits of its number, the same bits inverted, and four corners of
which only the top left is white. The number survives lossy coding and scaling, and reads as -1 when the picture is
turned, mirrored or broken.
"""

import contextlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 96, 64


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The frame that says `number` (0 to 1023); uint8 (height, width, 3)."""
    bits = [number >> i & 1 for i in range(10)]
    rows = [[1, *bits[:4], 0], bits[4:], [1 - b for b in bits[4:]], [0, *(1 - b for b in bits[:4]), 0]]
    y, x = np.arange(height) * 4 // height, np.arange(width) * 6 // width
    grey = (np.array(rows, np.uint8) * 195 + 30)[y][:, x]
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_of(frame: np.ndarray) -> int:
    """The number that a decoded frame (H, W, 3) says, -1 when it is not upright or not intact."""
    height, width = frame.shape[:2]
    y = ((np.arange(4) + 0.5) * height / 4).astype(int)
    x = ((np.arange(6) + 0.5) * width / 6).astype(int)
    cells = (frame[y][:, x].mean(axis=2) > 127).astype(int)
    bits = [*cells[0, 1:5], *cells[1]]
    inverted = [*cells[3, 1:5], *cells[2]]
    corners = (cells[0, 0], cells[0, 5], cells[3, 0], cells[3, 5])
    if corners != (1, 0, 0, 0) or any(a == b for a, b in zip(bits, inverted, strict=True)):
        return -1
    return int(sum(int(b) << i for i, b in enumerate(bits)))


def numbers(frames: np.ndarray) -> list[int]:
    """What each of the frames (L, H, W, 3) says."""
    return [number_of(frame) for frame in frames]


def encode(
    path: Path,
    num_frames: int = 60,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    size: tuple[int, int] = (HEIGHT, WIDTH),
    pix_fmt: str = "yuv420p",
    muxer: dict[str, str] | None = None,
    draw: Callable[[int, int, int], np.ndarray] = picture,
    format: str | None = None,
    audio: bool = False,
) -> Path:
    """Write a frame-coded video; `pts` in `time_base` units, 0, 1, 2, ... by default."""
    height, width = size
    with av.open(str(path), "w", format=format, options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=1 / time_base if pts is None else Fraction(25), options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        sound = container.add_stream("aac", rate=8000, layout="mono") if audio else None
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(draw(number, width, height), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (number if pts is None else pts[number]), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            for k in range(int(num_frames * float(time_base) * 8000 / 1024) + 1):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 8000, k * 1024, Fraction(1, 8000)
                container.mux(sound.encode(samples))
            container.mux(sound.encode(None))
    return path
