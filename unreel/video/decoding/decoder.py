"""Look into a video file, and read any of its frames exactly. The one file that imports `av`.

Frame i is the i-th frame that a plain decode gives, beginning with the first key frame. Containers lie about this in
many ways: stamps that are the order of storage (AVI), seeks that land late (MPEG-TS), pictures that are stored and
never shown (edit lists, VP8), frames that can't be decoded after a seek (open GOP). So a file is demuxed once into a
`FrameIndex`, decoding begins exactly at a key packet, and every packet goes into the decoder with its number in place
of its stamp: the frame that comes out says which packet it was.
"""

import io
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

from unreel.errors import InputError, VideoError
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.retry import SERVER_STALL_ERRNOS, is_stall, retry_on_stall
from unreel.video.decoding.frame_index import (
    FrameIndex,
    PacketTable,
    build_index,
    build_sequential_index,
    sort_by_timestamp,
)
from unreel.video.decoding.frame_reader import (
    MAX_DECODE_AHEAD_FRAMES,
    FrameReader,
    describe_error,
    get_timestamp,
    iter_packets,
)
from unreel.video.decoding.mp4_index import parse_mp4_index
from unreel.video.sources.integrity import check_integrity
from unreel.video.sources.packed_corpus import clear_recent_pieces, read_piece
from unreel.video.sources.paths import is_piece

# What no camera makes, and what is made of it would take all memory: pixels, frames, frames a second, seconds of a
# whole file (a week), and seconds that a frame stays on the mean.
MAX_SIDE, MAX_PIXELS, MAX_FRAMES, MAX_FPS = 16384, 2**27, 2**24, 1e5
MAX_DURATION_S, MAX_MEAN_FRAME_S = 7 * 86_400.0, 60.0
CHECK_WINDOW_FRAMES = 8
NON_VIDEO_FORMATS = ("image2", "tty", "hls", "dash", "concat")
# With AVX-512, x264's look-ahead reads uninitialised memory when the width is not a multiple of 64, so the same frames
# gave different bytes. This option makes the result the same on every processor and costs no measurable time.
SAME_EVERYWHERE = "cpu-independent=1"
# PyAV 17 and later would otherwise scale with as many threads as there are cores.
SCALER_OPTIONS: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


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
    return build_frame_index(str(path), *check_integrity(path))


def clear_caches() -> None:
    """Remember no file any more, as if each were opened for the first time; for measuring."""
    build_frame_index.cache_clear()
    clear_recent_pieces()


def probe(path: str | Path) -> VideoInfo:
    """Describe a file by its header, one demux pass and its first frame, which alone knows how it is turned.

    Raises VideoError when the file can't be used.
    """
    index = index_frames(path)
    with closing(open_reader(path, index)) as reader:
        frame, stream = reader.read_frame(0), reader.stream
        rotation, stated, fps = read_rotation(frame), stream.average_rate, index.fps
        height, width = swap_if_rotated(frame.height, frame.width, rotation)
        # Stamps are often rounded to milliseconds: the header is more exact where the two agree.
        alone = len(index.frame_packets) == 1 and 1 / MAX_MEAN_FRAME_S <= (stated or 0) <= MAX_FPS
        fps = float(stated) if stated and (alone or abs(stated / fps - 1) < 0.01) else fps
        return VideoInfo(
            codec=stream.codec.canonical_name,
            width=width,
            height=height,
            fps=fps,
            num_frames=len(index.frame_packets),
            duration_s=float(index.times_s[-1]) + 1 / fps,
            rotation=rotation,
            variable_fps=index.is_variable(float(stream.time_base or 0)),
            size_bytes=check_integrity(path).size_bytes,
        )


def read_frames(
    path: str | Path, frame_numbers: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode the frames with these numbers, in any order, repeats allowed; uint8 (len(frames), H, W, 3) RGB, upright.

    `size` is (height, width) to scale to, bilinear. One forward pass through the file, one thread.
    Raises VideoError when the file or a wanted frame can't be decoded, InputError for a number the file doesn't have.
    """
    index, numbers = index_frames(path), np.asarray(frame_numbers, dtype=np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(index.frame_packets):
        raise InputError(
            f"{path} has frames 0 to {len(index.frame_packets) - 1}, asked for {numbers.min()} to {numbers.max()}"
        )
    wanted, rows = np.unique(numbers, return_inverse=True)
    with closing(open_reader(path, index)) as reader:
        scaler = Scaler()
        if not numbers.size:
            return convert_to_rgb(path, reader.read_frame(0), size, scaler)[None][:0]
        pictures = [convert_to_rgb(path, reader.read_frame(int(i)), size, scaler) for i in wanted]
    if len({picture.shape for picture in pictures}) > 1:
        raise VideoError(str(path), "damaged", "the picture size changes on the way; read it with a size")
    return np.stack([pictures[row] for row in rows])


def iter_frames(path: str | Path, start_frame: int, stop_frame: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Decode frames `first` to `last` - 1 in one go, each as `read` gives it. Raises VideoError."""
    index, scaler = index_frames(path), Scaler()
    with closing(open_reader(path, index)) as reader:
        for i in range(start_frame, stop_frame):
            yield convert_to_rgb(path, reader.read_frame(i, max_ahead_frames=stop_frame - start_frame), size, scaler)


def read_timestamps(path: str | Path) -> tuple[np.ndarray, Fraction]:
    """When each frame is shown in whole ticks, int64 (L,) ascending from 0, and the tick in seconds, both exact."""
    index = index_frames(path)
    container, stream = open_container(str(path))
    with closing(container):
        tick, rate = stream.time_base, stream.average_rate or stream.guessed_rate or Fraction(25)
    if not len(index.packet_timestamps) or tick is None:
        return np.arange(len(index.frame_packets)), 1 / Fraction(rate)
    shown = np.sort(index.packet_timestamps[index.frame_packets])
    return shown - shown[0], Fraction(tick)


def check_decodable(path: str | Path, all_frames: bool) -> None:
    """Make sure that the frames of a file decode without a fault: all of them, or a start, middle and end window.

    Raises VideoError with the reason when they don't.
    """
    index = index_frames(path)
    num_frames = len(index.frame_packets)
    starts = [0] if all_frames else [0, (num_frames - CHECK_WINDOW_FRAMES) // 2, num_frames - CHECK_WINDOW_FRAMES]
    span, near = (num_frames, num_frames) if all_frames else (CHECK_WINDOW_FRAMES, MAX_DECODE_AHEAD_FRAMES)
    wanted = {i for start in starts for i in range(max(0, start), min(max(0, start) + span, num_frames))}
    with closing(open_reader(path, index)) as reader:
        for i in sorted(wanted):
            reader.read_frame(i, near)


def iter_keyframes(path: str | Path, size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the key frames alone: (time in seconds, uint8 (H, W, 3)) of each, scaled to `size` (height, width).

    Raises VideoError when the file can't be used; key frames that don't decode by themselves are left out.
    """
    index, scaler = index_frames(path), Scaler()
    with closing(open_reader(path, index)) as reader:
        for i, frame in reader.decode_keyframes():
            yield float(index.times_s[i]), convert_to_rgb(path, frame, size, scaler)


def write_video(
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
    coding = EncodingOptions(1 / rate, rate, codec, {"crf": str(crf), "g": str(gop)})
    write_timed_video(path, ((n, picture) for n, picture in enumerate(frames)), coding)


def subsample_chroma(picture: np.ndarray) -> np.ndarray:
    """What 4:2:0 keeps of an RGB picture (H, W, 3) of even height and width, before any coding."""
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p").to_ndarray(format="rgb24")


@dataclass(frozen=True)
class EncodingOptions:
    """How frames become a file: the seconds of a tick, the mean rate, the encoder and its options."""

    time_base: Fraction
    frame_rate: Fraction
    codec: str
    options: dict[str, str]

    @property
    def encoder_options(self) -> dict[str, str]:
        """The options, and for x264 those that make the same bytes of the same frames."""
        if self.codec != "libx264":
            return self.options
        params = filter(None, (self.options.get("x264-params"), SAME_EVERYWHERE))
        return self.options | {"x264-params": ":".join(params)}


def write_timed_video(path: str | Path, frames: Iterable[tuple[int, np.ndarray]], encoding: EncodingOptions) -> None:
    """`write` for frames that come with the tick at which each is shown, ascending."""
    with disk_errors(Path(path)), atomic_path(Path(path), sync=False) as temporary:
        _encode(temporary, frames, encoding)


def _encode(path: Path, frames: Iterable[tuple[int, np.ndarray]], encoding: EncodingOptions) -> None:
    muxing = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(f"file:{path}", "w", format="mp4", options=muxing) as container:
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


@lru_cache(maxsize=2048)
def build_frame_index(path: str, _version: str, _size_bytes: int) -> FrameIndex:
    if is_piece(path) and (known := parse_mp4_index(read_piece(path))) is not None:
        return known
    container, stream = open_container(path)
    with closing(container):
        packets = demux_packets(path, container, stream)
        tick_s, fps = float(stream.time_base or 0), float(stream.average_rate or stream.guessed_rate or 25)
    order = sort_by_timestamp(packets)
    if packets.is_reordered or not packets.can_seek:
        order = np.array(find_decoding_order(path, packets, None))
    elif packets.has_leading_frames and (shown := find_decoding_order(path, packets, 1)):
        order = order[order.tolist().index(shown[0]) :]
    if not len(order):
        raise VideoError(path, "no frames")
    return validate_times(path, build_index(packets, order, tick_s, fps))


def validate_times(path: str, index: FrameIndex) -> FrameIndex:
    """The index itself. Raises VideoError for times that are none: a damaged header, a jump of the clock."""
    count, length_s = len(index.frame_packets), float(index.times_s[-1])
    if not 0 <= length_s <= MAX_DURATION_S or (count > 1 and length_s / (count - 1) > MAX_MEAN_FRAME_S):
        raise VideoError(path, "damaged", f"{count} frames that last {length_s:.6g} s")
    if not 0 < index.fps <= MAX_FPS:
        raise VideoError(path, "damaged", f"{index.fps:.6g} frames a second")
    return index


def demux_packets(path: str, container: Any, stream: av.VideoStream) -> PacketTable:
    """Note what one pass through the packets tells. Raises VideoError: damaged, no frames."""
    packets, codec = PacketTable(), stream.codec_context.name
    try:
        for n, packet in enumerate(iter_packets(container, stream)):
            if n == MAX_FRAMES:
                raise VideoError(path, "damaged", f"more than {MAX_FRAMES} frames")
            packets.timestamps.append(get_timestamp(packet))
            packets.sizes_bytes.append(packet.size)
            if packet.is_keyframe:
                packets.key_packets.append(n)
            # VP8 keeps pictures that only serve as references in packets of their own; bit 4 says shown.
            packets.is_hidden.append(packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & 0x10))
            # A packed bitstream holds a P and a B picture in one chunk of an AVI, and a dummy in the next.
            packets.is_reordered |= codec == "mpeg4" and bytes(packet).count(b"\0\0\1\xb6") > 1
    except av.FFmpegError as error:
        raise VideoError(path, classify_error(error, "damaged"), describe_error(error)) from error
    if not packets.timestamps:
        raise VideoError(path, "no frames")
    packets.key_packets = packets.key_packets or [0]
    # B pictures whose stamps only count packets: H.264 in AVI.
    counted = packets.filled_timestamps == sorted(packets.filled_timestamps)
    packets.is_reordered |= codec in ("h264", "hevc") and bool(stream.codec_context.has_b_frames) and counted
    return packets


def find_decoding_order(path: str, packets: PacketTable, limit: int | None) -> list[int]:
    """The packets of the first `limit` frames, or of all, in the order in which they come out of the decoder."""
    with closing(open_reader(path, build_sequential_index(packets, np.arange(len(packets.timestamps)), 1.0))) as reader:
        return [n for n, _ in islice(reader.decode_from(0), limit)]


def open_reader(path: str | Path, index: FrameIndex) -> FrameReader:
    return FrameReader(str(path), index, open_container, av.FFmpegError)


def classify_error(error: Exception, default_reason: str) -> str:
    """The usual reason, but for a file system that does not answer: that is no fault of the file."""
    return "unreadable" if is_stall(error, SERVER_STALL_ERRNOS) else default_reason


def open_container(path: str) -> tuple[Any, av.VideoStream]:
    """The container and its video stream. Raises VideoError: not a video, no video stream, unreadable, damaged."""
    try:
        # The prefix keeps ffmpeg from reading a protocol into the file's name, the list from following links in it.
        # Given as `options` rather than `container_options`, it crashes PyAV before 18 on FLV.
        only_files = {"protocol_whitelist": "file"}
        source = io.BytesIO(read_piece(path)) if is_piece(path) else f"file:{path}"
        container = retry_on_stall(
            lambda: av.open(source, metadata_errors="replace", container_options=only_files), SERVER_STALL_ERRNOS
        )
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, classify_error(error, "not a video"), describe_error(error)) from error
    try:
        return container, find_video_stream(path, container)
    except BaseException:
        container.close()
        raise


def find_video_stream(path: str, container: Any) -> av.VideoStream:
    """The first stream of moving pictures, set to decode on one thread. Cover art of a song is no video."""
    demuxer = container.format.name
    if demuxer.endswith("_pipe") or demuxer.split(",")[0] in NON_VIDEO_FORMATS:
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


def read_rotation(frame: av.VideoFrame) -> int:
    """The clockwise turn that brings the frame upright: 0, 90, 180 or 270 degrees."""
    return round(-frame.rotation / 90) * 90 % 360


def swap_if_rotated(height: int, width: int, rotation: int) -> tuple[int, int]:
    return (width, height) if rotation in (90, 270) else (height, width)


def convert_to_rgb(path: str | Path, frame: av.VideoFrame, size: tuple[int, int] | None, scaler: Scaler) -> np.ndarray:
    """RGB, scaled and upright; uint8 (H, W, 3)."""
    rotation = read_rotation(frame)
    height, width = (frame.height, frame.width) if size is None else swap_if_rotated(*size, rotation)
    try:
        rgb = scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", **SCALER_OPTIONS)
    except av.FFmpegError as error:
        raise VideoError(
            str(path), "damaged", f"a picture that can't be turned into RGB: {describe_error(error)}"
        ) from error
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), -rotation // 90))
