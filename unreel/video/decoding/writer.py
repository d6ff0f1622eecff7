"""Write RGB frames as mp4 files; the same frames give the same bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from unreel.io.atomic_write import atomic_path, disk_errors

# With AVX-512, x264's look-ahead reads uninitialised memory when the width is not a multiple of 64, so the same frames
# gave different bytes. This option makes the result the same on every processor and costs no measurable time.
X264_REPRODUCIBLE = "cpu-independent=1"


@dataclass(frozen=True)
class EncodingOptions:
    """How frames are encoded: seconds of a tick, mean frame rate, codec and its options."""

    time_base: Fraction
    frame_rate: Fraction
    codec: str
    options: dict[str, str]

    @property
    def encoder_options(self) -> dict[str, str]:
        """The options, and for x264 the one that makes its output the same on every processor."""
        if self.codec != "libx264":
            return self.options
        params = filter(None, (self.options.get("x264-params"), X264_REPRODUCIBLE))
        return self.options | {"x264-params": ":".join(params)}


def write_video(
    path: str | Path,
    frames: np.ndarray | Iterable[np.ndarray],
    fps: float,
    codec: str = "libx264",
    crf: int = 23,
    gop: int = 12,
) -> None:
    """Write uint8 (H, W, 3) RGB frames as a yuv420p mp4; the same frames give the same bytes.

    An odd last row or column is left out, because 4:2:0 needs even sizes. Raises DiskError when the file can't be
    written; no part of it is left behind.

    >>> write_video(out / "grey.mp4", np.full((8, 32, 48, 3), 128, np.uint8), fps=25)
    """
    rate = Fraction(fps).limit_denominator(1001)
    encoding = EncodingOptions(1 / rate, rate, codec, {"crf": str(crf), "g": str(gop)})
    write_timed_video(path, enumerate(frames), encoding)


def write_timed_video(path: str | Path, frames: Iterable[tuple[int, np.ndarray]], encoding: EncodingOptions) -> None:
    """`write_video` for pairs of (tick at which the frame is shown, ascending; frame). Raises DiskError."""
    with disk_errors(Path(path)), atomic_path(Path(path), sync=False) as temporary:
        _encode(temporary, frames, encoding)


def _encode(path: Path, frames: Iterable[tuple[int, np.ndarray]], encoding: EncodingOptions) -> None:
    mux_options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(f"file:{path}", "w", format="mp4", options=mux_options) as container:
        stream = container.add_stream(encoding.codec, rate=encoding.frame_rate, options=encoding.encoder_options)
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count, stream.pix_fmt = 1, "yuv420p"
        stream.codec_context.time_base = encoding.time_base
        for number, (tick, picture) in enumerate(frames):
            height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            if number == 0:
                stream.height, stream.width = height, width
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = tick, encoding.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
