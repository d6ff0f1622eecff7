"""Look into a video file, and read any of its frames exactly. The one file that imports `av`.

Frame i is the i-th frame that a plain decode from the start gives. Containers lie about this in many ways: stamps that
are the order of storage (AVI), seeks that land late (MPEG-TS), pictures that are stored and never shown (edit lists,
VP8), frames that can't be decoded after a seek (open GOP). So a file is demuxed once into a `FrameIndex`, packets are
told by their stamp, decoding begins exactly at a key packet, and every packet goes into the decoder with its number in
place of its stamp: the frame that comes out says which packet it is.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter as Scaler

from unreel.errors import DiskError, InputError, VideoError
from unreel.video.cut_short import missing_end
from unreel.video.frame_index import FrameIndex, Packets, build, by_stamp

MAX_SIDE = 16384
NEAR_FRAMES = 8  # a key frame this near ahead is reached by decoding on: a seek costs about as much
WINDOW_FRAMES = 8
PICTURES = ("image2", "tty", "ansi")  # demuxers that make a "video" of a picture or of text; also all that end in _pipe
# PyAV 17 and later would otherwise scale with as many threads as there are cores.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about itself. Width and height are upright, that is after `rotation` (0, 90, 180, 270)."""

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
    """Find all frames by demuxing once, without decoding; remembered until the file changes.

    Raises VideoError when the file can't be used.
    """
    status = _usable(path)
    return _index(str(path), status.st_mtime_ns, status.st_size)


def _usable(path: str | Path) -> os.stat_result:
    """The file's status, when there is a whole file that can be opened."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(str(path), "unreadable", "not a regular file")
        if status.st_size == 0:
            raise VideoError(str(path), "empty file")
        with open(path, "rb"):
            return status
    except FileNotFoundError as error:
        raise VideoError(str(path), "missing") from error
    except OSError as error:
        raise VideoError(str(path), "unreadable", error.strerror or str(error)) from error


@lru_cache(maxsize=256)
def _index(path: str, mtime_ns: int, size: int) -> FrameIndex:
    if cut := missing_end(path):
        raise VideoError(path, "truncated", cut)
    container, stream = _open(path)
    with closing(container):
        packets = _demux(path, container, stream)
        second, fps = float(stream.time_base or 0), float(stream.average_rate or stream.guessed_rate or 25)
    order = by_stamp(packets)
    if packets.reordered or not packets.can_seek:
        order = np.array(_decoded_order(path, packets, None))
    elif packets.leads and len(shown := _decoded_order(path, packets, 1)):
        order = order[int(np.flatnonzero(order == shown[0])[0]) :]
    if not len(order):
        raise VideoError(path, "no frames")
    return build(packets, order, second, fps)


def _open(path: str) -> tuple[av.container.InputContainer, av.VideoStream]:
    try:
        # The prefix keeps ffmpeg from reading a protocol or a pattern into the file's name.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, "not a video", getattr(error, "strerror", "") or str(error)) from error
    try:
        return container, _video_stream(path, container)
    except BaseException:
        container.close()
        raise


def _video_stream(path: str, container: av.container.InputContainer) -> av.VideoStream:
    """The first stream of moving pictures, set to decode on one thread. Cover art of a song is no video."""
    if container.format.name in PICTURES or container.format.name.endswith("_pipe"):
        raise VideoError(path, "not a video", f"a picture or text ({container.format.name})")
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise VideoError(path, "no video stream")
    context = streams[0].codec_context
    if context is None:
        raise VideoError(path, "unreadable", "no decoder for its codec")
    if not 0 < context.width <= MAX_SIDE or not 0 < context.height <= MAX_SIDE:
        raise VideoError(path, "damaged", f"a picture size of {context.width} x {context.height}")
    context.thread_count = 1
    return streams[0]


def _demux(path: str, container: av.container.InputContainer, stream: av.VideoStream) -> Packets:
    packets, codec = Packets(), stream.codec_context.name
    try:
        for n, packet in enumerate(p for p in container.demux(stream) if p.size):
            packets.stamps.append(packet.dts if packet.pts is None else packet.pts)
            if packet.is_keyframe:
                packets.keys.append(n)
            # VP8 keeps pictures that only serve as references in packets of their own: bit 4 says shown.
            packets.hidden.append(packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & 0x10))
            # Packed bitstream: a P and a B picture in one AVI chunk, and a dummy in the next.
            packets.reordered |= codec == "mpeg4" and bytes(packet).count(b"\0\0\1\xb6") > 1
    except av.FFmpegError as error:
        raise VideoError(path, "damaged", error.strerror) from error
    if not packets.hidden:
        raise VideoError(path, "no frames")
    packets.keys = packets.keys or [0]
    # B pictures whose stamps only count packets: H.264 in AVI.
    in_file_order = packets.known() == sorted(packets.known())
    packets.reordered |= codec in ("h264", "hevc") and bool(stream.codec_context.has_b_frames) and in_file_order
    return packets


def _decoded_order(path: str, packets: Packets, limit: int | None) -> list[int]:
    """The packets of the first `limit` frames, or of all, in the order in which the decoder gives them."""
    everything = np.arange(len(packets.stamps))
    start = np.array(packets.keys[:1])
    reader = _Reader(path, FrameIndex(everything, everything, everything[:0], start, np.zeros(1, dtype=np.int64)))
    with closing(reader):
        return [n for n, _ in islice(reader.decode(0), limit)]


def probe(path: str | Path) -> VideoInfo:
    """Describe a file by its header, one demux pass and its first frame.

    Raises VideoError when the file can't be used.
    """
    index = index_frames(path)
    with closing(_Reader(path, index)) as reader:
        frame, stream = reader.frame(0), reader.stream
        rotation = _rotation(frame)
        height, width = _upright(frame.height, frame.width, rotation)
        num_frames, fps = len(index.times_s), _fps(index.times_s, stream.average_rate)
        return VideoInfo(
            codec=stream.codec_context.name,
            width=width,
            height=height,
            fps=fps,
            num_frames=num_frames,
            duration_s=float(index.times_s[-1]) + 1 / fps,
            rotation=rotation,
            variable_fps=_is_variable(index.times_s, stream.time_base),
            size_bytes=os.path.getsize(path),
        )


def read(path: str | Path, frames: Sequence[int], size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode the frames with these numbers, in any order, repeats allowed; uint8 (len(frames), H, W, 3) RGB, upright.

    `size` is (height, width) to scale to, bilinear. One forward pass through the file, one thread.
    Raises VideoError when the file or a wanted frame can't be decoded, InputError for a number the file doesn't have.
    """
    index, numbers = index_frames(path), np.asarray(frames, dtype=np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(index.order):
        raise InputError(f"{path} has frames 0 to {len(index.order) - 1}, asked for {numbers.min()} to {numbers.max()}")
    wanted, rows = np.unique(numbers, return_inverse=True)
    with closing(_Reader(path, index)) as reader:
        scaler = Scaler()
        if not numbers.size:
            return _picture(reader.frame(0), size, scaler)[None][:0]
        pictures = [_picture(reader.frame(int(i)), size, scaler) for i in wanted]
    if len({picture.shape for picture in pictures}) > 1:
        raise VideoError(str(path), "damaged", "the picture size changes within the video; read it with a size")
    return np.stack(pictures)[rows]


def check(path: str | Path, full: bool) -> None:
    """Make sure that the frames of a file decode: all of them, or a start, middle and end window.

    Raises VideoError with the reason when they don't.
    """
    index = index_frames(path)
    num_frames = len(index.order)
    starts = (0,) if full else (0, (num_frames - WINDOW_FRAMES) // 2, num_frames - WINDOW_FRAMES)
    span = num_frames if full else WINDOW_FRAMES
    with closing(_Reader(path, index)) as reader:
        for start in starts:
            for i in range(max(0, start), min(max(0, start) + span, num_frames)):
                reader.frame(i, near=num_frames if full else NEAR_FRAMES)


def key_frames(path: str | Path, size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the key frames alone: (time in seconds, uint8 (H, W, 3)) of each, scaled to `size` (height, width).

    Raises VideoError when the file can't be used; key frames that can't be decoded are left out.
    """
    index = index_frames(path)
    with closing(_Reader(path, index)) as reader:
        scaler = Scaler()
        for i, frame in reader.key_frames():
            yield float(index.times_s[i]), _picture(frame, size, scaler)


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
    part = Path(f"{path}.part")
    try:
        _encode(part, iter(frames), Fraction(fps).limit_denominator(1001), codec, {"crf": str(crf), "g": str(gop)})
        os.replace(part, path)
    except OSError as error:
        raise DiskError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterator[np.ndarray], rate: Fraction, codec: str, options: dict[str, str]) -> None:
    muxing = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(f"file:{path}", "w", format="mp4", options=muxing) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count, stream.pix_fmt = 1, "yuv420p"
        for number, picture in enumerate(frames):
            height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            if number == 0:
                stream.height, stream.width = height, width
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class _Reader:
    """An open file and a position in it; hands out frames by number, forwards with few detours.

    `num_decoded` counts the packets that went into the decoder.
    """

    def __init__(self, path: str | Path, index: FrameIndex) -> None:
        self.path, self.index, self.num_decoded = str(path), index, 0
        self.packet_of = {stamp: n for n, stamp in enumerate(index.stamps.tolist())}
        self.frame_of = {n: i for i, n in enumerate(index.order.tolist())}
        self.run: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self.at, self.trouble = -1, ""
        self._open()

    def _open(self) -> None:
        self.container, self.stream = _open(self.path)
        self.fresh = True

    def close(self) -> None:
        self.run = iter(())
        self.container.close()

    def frame(self, i: int, near: int = NEAR_FRAMES) -> av.VideoFrame:
        """Decode frame i, going on from here when a seek would not bring us much nearer."""
        key, back = max(0, int(np.searchsorted(self.index.first, i, side="right")) - 1), 1
        if self.at < 0 or i <= self.at or self.index.first[key] > self.at + near:
            self._begin(key)
        while (frame := self._run_to(i)) is None:
            if key == 0:
                raise VideoError(self.path, "damaged", f"frame {i}: {self.trouble or 'does not come out of the decoder'}")
            key, back = max(0, key - back), back * 2
            self._begin(key)
        return frame

    def _run_to(self, i: int) -> av.VideoFrame | None:
        """Frame i of this run; None when it does not come, or not intact."""
        for self.at, frame in self.run:
            if self.at >= i:
                return frame if self.at == i and not self.trouble else None
        return None

    def _begin(self, key: int) -> None:
        self.run, self.at, self.trouble = self.decode(key), -1, ""

    def decode(self, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Numbered frames from the first intact one after a key packet; notes trouble on the way, and goes on."""
        first = int(self.index.first[key])
        for n, packet in self._packets(key):
            for number, frame in self._feed(n, packet, first):
                i = self.frame_of.get(number, -1)
                if i >= first:
                    if frame.is_corrupt:
                        self.trouble = self.trouble or "the decoder found errors in the picture"
                    yield i, frame

    def _feed(self, n: int, packet: av.Packet | None, first: int) -> list[tuple[int, av.VideoFrame]]:
        """Decode packet n (None at the end), whose number takes the place of its stamp; packets shown before frame `first` may fail."""
        try:
            if packet is not None:
                packet.pts = n
            self.num_decoded += 1
            return [(-1 if f.pts is None else f.pts, f) for f in self.stream.codec_context.decode(packet)]
        except av.FFmpegError as error:
            if packet is None or self.frame_of.get(n, -1) >= first:
                self.trouble = self.trouble or f"{error.strerror} in packet {n}"
            return []

    def _packets(self, key: int) -> Iterator[tuple[int, av.Packet | None]]:
        """Numbered packets, beginning exactly with a key packet, then a None."""
        start = int(self.index.keys[key])
        n = -1
        for n, packet in self._landed(key):
            if n >= start:
                yield n, packet
        yield n + 1, None

    def _landed(self, key: int) -> Iterator[tuple[int, av.Packet]]:
        """Numbered packets from somewhere at or before a key packet, as near as the container's seek comes."""
        back = 0
        while key - back > 0 and self.packet_of:
            self.fresh = False
            with suppress(av.FFmpegError):
                self.container.seek(int(self.index.stamps[self.index.keys[key - back]]), stream=self.stream)
            packets = self._numbered(None)
            landed = next(packets, None)
            if landed is not None and landed[0] <= self.index.keys[key]:
                yield landed
                yield from packets
                return
            back = back * 2 + 1
        if not self.fresh:
            self.container.close()
            self._open()
        self.fresh = False
        yield from self._numbered(-1)

    def _numbered(self, last: int) -> Iterator[tuple[int, av.Packet]]:
        """Packets with their numbers, told by their stamps; where these say nothing, by counting on from `last`."""
        try:
            for packet in self.container.demux(self.stream):
                known = self.packet_of.get(packet.dts if packet.pts is None else packet.pts)
                if packet.size and (known is not None or last is not None):
                    last = last + 1 if known is None else known
                    yield last, packet
        except av.FFmpegError as error:
            self.trouble = self.trouble or error.strerror

    def key_frames(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Every key frame with its number, decoded without those between."""
        self.stream.codec_context.skip_frame = "NONKEY"
        keys = set(self.index.keys.tolist())
        fed = (self._feed(n, packet, 0) for n, packet in self._packets(0) if packet is None or n in keys)
        for number, frame in chain.from_iterable(fed):
            if number in self.frame_of and not frame.is_corrupt:
                yield self.frame_of[number], frame


def _rotation(frame: av.VideoFrame) -> int:
    """Quarter turns anticlockwise that bring the frame upright, in degrees: 0, 90, 180 or 270."""
    return round(frame.rotation / 90) * 90 % 360


def _upright(height: int, width: int, rotation: int) -> tuple[int, int]:
    return (width, height) if rotation in (90, 270) else (height, width)


def _picture(frame: av.VideoFrame, size: tuple[int, int] | None, scaler: Scaler) -> np.ndarray:
    """RGB, scaled and upright; uint8 (H, W, 3)."""
    rotation = _rotation(frame)
    height, width = (frame.height, frame.width) if size is None else _upright(*size, rotation)
    rgb = scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", **ONE_THREAD)
    return np.rot90(rgb.to_ndarray(), rotation // 90)


def _fps(times_s: np.ndarray, stated: Fraction | None) -> float:
    """Frames a second as measured; as stated where the two agree, since stamps are often rounded to milliseconds."""
    measured = (len(times_s) - 1) / times_s[-1] if len(times_s) > 1 and times_s[-1] > 0 else float(stated or 25)
    return float(stated) if stated and abs(stated / measured - 1) < 0.01 else float(measured)


def _is_variable(times_s: np.ndarray, time_base: Fraction | None) -> bool:
    """Whether frames stay on screen for times that differ by more than a tenth and more than rounding explains."""
    steps = np.diff(times_s)
    return len(steps) > 1 and bool(np.ptp(steps) > 0.1 * np.median(steps) + 2 * float(time_base or 0))
