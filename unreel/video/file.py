"""Look into a video file, and read any of its frames exactly. The one file that imports `av`.

Frame i is the i-th frame that a plain decode gives, beginning with the first key frame. Containers lie about this in
many ways: stamps that are the order of storage (AVI), seeks that land late (MPEG-TS), pictures that are stored and
never shown (edit lists, VP8), frames that can't be decoded after a seek (open GOP). So a file is demuxed once into a
`FrameIndex`, decoding begins exactly at a key packet, and every packet goes into the decoder with its number in place
of its stamp: the frame that comes out says which packet it was.
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter as Scaler

from unreel.errors import DiskError, InputError, VideoError
from unreel.video.addresses import is_piece
from unreel.video.frame_index import FrameIndex, Packets, build, by_stamp, one_run
from unreel.video.packed import forget_pieces, read_piece
from unreel.video.patience import SERVER_STALLS, patiently, stalled
from unreel.video.piece_index import index_of_piece
from unreel.video.reader import NEAR_FRAMES, Reader, packets_of, stamp_of, why
from unreel.video.whole import usable

# What no camera makes, and what is made of it would take all memory: pixels, frames, frames a second, seconds of a
# whole file (a week), and seconds that a frame stays on the mean.
MAX_SIDE, MAX_PIXELS, MAX_FRAMES, MAX_FPS = 16384, 2**27, 2**24, 1e5
MAX_DURATION_S, MAX_FRAME_S = 7 * 86_400.0, 60.0
WINDOW_FRAMES = 8
NO_VIDEOS = ("image2", "tty", "hls", "dash", "concat")
# With AVX-512, x264's look-ahead reads memory that was never written when the width is not a multiple of 64, so the same
# frames gave different bytes. This option makes the result the same on every processor; measured, it costs no time.
SAME_EVERYWHERE = "cpu-independent=1"
# PyAV 17 and later would otherwise scale with as many threads as there are cores.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about itself.

    Width and height are upright: after `rotation`, the clockwise turn that players give it (0, 90, 180 or 270 degrees).
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


def index_frames(path: str | Path) -> FrameIndex:
    """Find all frames by demuxing once, as a rule without decoding; remembered until the file changes.

    Raises VideoError when the file can't be used.
    """
    return _index(str(path), *usable(path))


def forget() -> None:
    """Remember no file any more, as if each were opened for the first time; for measuring."""
    _index.cache_clear()
    forget_pieces()


def probe(path: str | Path) -> VideoInfo:
    """Describe a file by its header, one demux pass and its first frame, which alone knows how it is turned.

    Raises VideoError when the file can't be used.
    """
    index = index_frames(path)
    with closing(_reader(path, index)) as reader:
        frame, stream = reader.frame(0), reader.stream
        rotation, stated, fps = _rotation(frame), stream.average_rate, index.fps
        height, width = _upright(frame.height, frame.width, rotation)
        # Stamps are often rounded to milliseconds: the header is more exact where the two agree.
        alone = len(index.order) == 1 and 1 / MAX_FRAME_S <= (stated or 0) <= MAX_FPS
        fps = float(stated) if stated and (alone or abs(stated / fps - 1) < 0.01) else fps
        return VideoInfo(
            codec=stream.codec.canonical_name,
            width=width,
            height=height,
            fps=fps,
            num_frames=len(index.order),
            duration_s=float(index.times_s[-1]) + 1 / fps,
            rotation=rotation,
            variable_fps=index.is_variable(float(stream.time_base or 0)),
            size_bytes=usable(path).size_bytes,
        )


def read(path: str | Path, frames: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode the frames with these numbers, in any order, repeats allowed; uint8 (len(frames), H, W, 3) RGB, upright.

    `size` is (height, width) to scale to, bilinear. One forward pass through the file, one thread.
    Raises VideoError when the file or a wanted frame can't be decoded, InputError for a number the file doesn't have.
    """
    index, numbers = index_frames(path), np.asarray(frames, dtype=np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(index.order):
        raise InputError(f"{path} has frames 0 to {len(index.order) - 1}, asked for {numbers.min()} to {numbers.max()}")
    wanted, rows = np.unique(numbers, return_inverse=True)
    with closing(_reader(path, index)) as reader:
        scaler = Scaler()
        if not numbers.size:
            return _picture(path, reader.frame(0), size, scaler)[None][:0]
        pictures = [_picture(path, reader.frame(int(i)), size, scaler) for i in wanted]
    if len({picture.shape for picture in pictures}) > 1:
        raise VideoError(str(path), "damaged", "the picture size changes on the way; read it with a size")
    return np.stack([pictures[row] for row in rows])


def frames(path: str | Path, first: int, last: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Decode frames `first` to `last` - 1 in one go, each as `read` gives it. Raises VideoError."""
    index, scaler = index_frames(path), Scaler()
    with closing(_reader(path, index)) as reader:
        for i in range(first, last):
            yield _picture(path, reader.frame(i, near_frames=last - first), size, scaler)


def stamps(path: str | Path) -> tuple[np.ndarray, Fraction]:
    """When each frame is shown in whole ticks, int64 (L,) ascending from 0, and the tick in seconds, both exact."""
    index = index_frames(path)
    container, stream = _open(str(path))
    with closing(container):
        tick, rate = stream.time_base, stream.average_rate or stream.guessed_rate or Fraction(25)
    if not len(index.stamps) or tick is None:
        return np.arange(len(index.order)), 1 / Fraction(rate)
    shown = np.sort(index.stamps[index.order])
    return shown - shown[0], Fraction(tick)


def check(path: str | Path, full: bool) -> None:
    """Make sure that the frames of a file decode without a fault: all of them, or a start, middle and end window.

    Raises VideoError with the reason when they don't.
    """
    index = index_frames(path)
    num_frames = len(index.order)
    starts = [0] if full else [0, (num_frames - WINDOW_FRAMES) // 2, num_frames - WINDOW_FRAMES]
    span, near = (num_frames, num_frames) if full else (WINDOW_FRAMES, NEAR_FRAMES)
    wanted = {i for start in starts for i in range(max(0, start), min(max(0, start) + span, num_frames))}
    with closing(_reader(path, index)) as reader:
        for i in sorted(wanted):
            reader.frame(i, near)


def key_frames(path: str | Path, size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the key frames alone: (time in seconds, uint8 (H, W, 3)) of each, scaled to `size` (height, width).

    Raises VideoError when the file can't be used; key frames that don't decode by themselves are left out.
    """
    index, scaler = index_frames(path), Scaler()
    with closing(_reader(path, index)) as reader:
        for i, frame in reader.key_frames():
            yield float(index.times_s[i]), _picture(path, frame, size, scaler)


def write(
    path: str | Path,
    frames: np.ndarray | Iterable[np.ndarray],
    fps: float,
    codec: str = "libx264",
    crf: int = 23,
    gop: int = 12,
) -> None:
    """Write uint8 (H, W, 3) RGB frames as a yuv420p mp4; the same frames give the same bytes.

    An odd last row or column is left out: 4:2:0 has none. Raises DiskError when the file can't be written, and leaves
    nothing behind then.
    """
    rate = Fraction(fps).limit_denominator(1001)
    coding = Coding(1 / rate, rate, codec, {"crf": str(crf), "g": str(gop)})
    write_timed(path, ((n, picture) for n, picture in enumerate(frames)), coding)


def halved_colour(picture: np.ndarray) -> np.ndarray:
    """What 4:2:0 keeps of an RGB picture (H, W, 3) of even height and width, before any coding."""
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p").to_ndarray(format="rgb24")


@dataclass(frozen=True)
class Coding:
    """How frames become a file: the seconds of a tick, the mean rate, the encoder and its options."""

    tick: Fraction
    rate: Fraction
    codec: str
    options: dict[str, str]

    @property
    def encoder_options(self) -> dict[str, str]:
        """The options, and for x264 those that make the same bytes of the same frames."""
        if self.codec != "libx264":
            return self.options
        params = filter(None, (self.options.get("x264-params"), SAME_EVERYWHERE))
        return self.options | {"x264-params": ":".join(params)}


def write_timed(path: str | Path, frames: Iterable[tuple[int, np.ndarray]], coding: Coding) -> None:
    """`write` for frames that come with the tick at which each is shown, ascending."""
    part = Path(f"{path}.{os.getpid()}.part")  # a process that outlived its killed parent may still write its own
    try:
        _encode(part, frames, coding)
        os.replace(part, path)
    except OSError as error:
        raise DiskError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[tuple[int, np.ndarray]], coding: Coding) -> None:
    muxing = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(f"file:{path}", "w", format="mp4", options=muxing) as container:
        stream = container.add_stream(coding.codec, rate=coding.rate, options=coding.encoder_options)
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count, stream.pix_fmt = 1, "yuv420p"
        stream.codec_context.time_base = coding.tick
        for number, (tick, picture) in enumerate(frames):
            height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            if number == 0:
                stream.height, stream.width = height, width
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = tick, coding.tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@lru_cache(maxsize=2048)
def _index(path: str, _version: str, _size_bytes: int) -> FrameIndex:
    if is_piece(path) and (known := index_of_piece(read_piece(path))) is not None:
        return known
    container, stream = _open(path)
    with closing(container):
        packets = _demux(path, container, stream)
        tick_s, fps = float(stream.time_base or 0), float(stream.average_rate or stream.guessed_rate or 25)
    order = by_stamp(packets)
    if packets.reordered or not packets.can_seek:
        order = np.array(_decoded_order(path, packets, None))
    elif packets.leads and (shown := _decoded_order(path, packets, 1)):
        order = order[order.tolist().index(shown[0]) :]
    if not len(order):
        raise VideoError(path, "no frames")
    return _believable(path, build(packets, order, tick_s, fps))


def _believable(path: str, index: FrameIndex) -> FrameIndex:
    """The index itself. Raises VideoError for times that are none: a damaged header, a jump of the clock."""
    count, length_s = len(index.order), float(index.times_s[-1])
    if not 0 <= length_s <= MAX_DURATION_S or (count > 1 and length_s / (count - 1) > MAX_FRAME_S):
        raise VideoError(path, "damaged", f"{count} frames that last {length_s:.6g} s")
    if not 0 < index.fps <= MAX_FPS:
        raise VideoError(path, "damaged", f"{index.fps:.6g} frames a second")
    return index


def _demux(path: str, container: Any, stream: av.VideoStream) -> Packets:
    """Note what one pass through the packets tells. Raises VideoError: damaged, no frames."""
    packets, codec = Packets(), stream.codec_context.name
    try:
        for n, packet in enumerate(packets_of(container, stream)):
            if n == MAX_FRAMES:
                raise VideoError(path, "damaged", f"more than {MAX_FRAMES} frames")
            packets.stamps.append(stamp_of(packet))
            packets.sizes.append(packet.size)
            if packet.is_keyframe:
                packets.keys.append(n)
            # VP8 keeps pictures that only serve as references in packets of their own; bit 4 says shown.
            packets.hidden.append(packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & 0x10))
            # A packed bitstream holds a P and a B picture in one chunk of an AVI, and a dummy in the next.
            packets.reordered |= codec == "mpeg4" and bytes(packet).count(b"\0\0\1\xb6") > 1
    except av.FFmpegError as error:
        raise VideoError(path, reason_of(error, "damaged"), why(error)) from error
    if not packets.stamps:
        raise VideoError(path, "no frames")
    packets.keys = packets.keys or [0]
    # B pictures whose stamps only count packets: H.264 in AVI.
    counted = packets.known == sorted(packets.known)
    packets.reordered |= codec in ("h264", "hevc") and bool(stream.codec_context.has_b_frames) and counted
    return packets


def _decoded_order(path: str, packets: Packets, limit: int | None) -> list[int]:
    """The packets of the first `limit` frames, or of all, in the order in which they come out of the decoder."""
    with closing(_reader(path, one_run(packets, np.arange(len(packets.stamps)), 1.0))) as reader:
        return [n for n, _ in islice(reader.decode(0), limit)]


def _reader(path: str | Path, index: FrameIndex) -> Reader:
    return Reader(str(path), index, _open, av.FFmpegError)


def reason_of(error: Exception, usual: str) -> str:
    """The usual reason, but for a file system that does not answer: that is no fault of the file."""
    return "unreadable" if stalled(error, SERVER_STALLS) else usual


def _open(path: str) -> tuple[Any, av.VideoStream]:
    """The container and its video stream. Raises VideoError: not a video, no video stream, unreadable, damaged."""
    try:
        # The prefix keeps ffmpeg from reading a protocol into the file's name, the list from following links in it.
        # Given as `options` rather than `container_options`, it crashes PyAV before 18 on FLV.
        only_files = {"protocol_whitelist": "file"}
        source = io.BytesIO(read_piece(path)) if is_piece(path) else f"file:{path}"
        container = patiently(
            lambda: av.open(source, metadata_errors="replace", container_options=only_files), SERVER_STALLS
        )
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, reason_of(error, "not a video"), why(error)) from error
    try:
        return container, _video_stream(path, container)
    except BaseException:
        container.close()
        raise


def _video_stream(path: str, container: Any) -> av.VideoStream:
    """The first stream of moving pictures, set to decode on one thread. Cover art of a song is no video."""
    demuxer = container.format.name
    if demuxer.endswith("_pipe") or demuxer.split(",")[0] in NO_VIDEOS:
        raise VideoError(path, "not a video", f"a picture, text or playlist ({demuxer})")
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError(path, "no video stream")
    context = streams[0].codec_context
    if context is None:
        raise VideoError(path, "unreadable", "no decoder for its codec")
    width, height = context.width, context.height
    if not 0 < min(width, height) <= max(width, height) <= MAX_SIDE or width * height > MAX_PIXELS:
        raise VideoError(path, "damaged", f"a picture size of {width} x {height}")
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}  # pictures may grow on the way
    return streams[0]


def _rotation(frame: av.VideoFrame) -> int:
    """The clockwise turn that brings the frame upright: 0, 90, 180 or 270 degrees."""
    return round(-frame.rotation / 90) * 90 % 360


def _upright(height: int, width: int, rotation: int) -> tuple[int, int]:
    return (width, height) if rotation in (90, 270) else (height, width)


def _picture(path: str | Path, frame: av.VideoFrame, size: tuple[int, int] | None, scaler: Scaler) -> np.ndarray:
    """RGB, scaled and upright; uint8 (H, W, 3)."""
    rotation = _rotation(frame)
    height, width = (frame.height, frame.width) if size is None else _upright(*size, rotation)
    try:
        rgb = scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", **ONE_THREAD)
    except av.FFmpegError as error:
        raise VideoError(str(path), "damaged", f"a picture that can't be turned into RGB: {why(error)}") from error
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), -rotation // 90))
