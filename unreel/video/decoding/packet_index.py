"""Build the `FrameIndex` of a file by demuxing it once, in most cases without decoding.

Containers are unreliable: time stamps that only count packets (AVI), pictures that are stored and never shown (edit
lists, VP8), frames that can't be decoded after a seek (open GOP), key flags that are wrong, two packets for one frame.
Where the packets alone do not tell which frames come out, the file is decoded once from its start, and the answer kept
on the disk (index_cache.py).
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from unreel.errors import VideoError
from unreel.video.decoding.container import classify_error, find_clock_start, open_container, open_reader
from unreel.video.decoding.frame_index import (
    FrameIndex,
    PacketTable,
    build_index,
    build_sequential_index,
    sort_by_timestamp,
)
from unreel.video.decoding.frame_reader import describe_error, get_timestamp, iter_packets
from unreel.video.decoding.index_cache import load_index, save_index
from unreel.video.decoding.mp4_index import parse_mp4_index
from unreel.video.decoding.picture_types import CONTENT_CODECS, PictureInspector
from unreel.video.decoding.rgb_conversion import hash_picture
from unreel.video.sources.integrity import Truncation, find_truncation
from unreel.video.sources.long_read import LongRead
from unreel.video.sources.paths import is_synthetic
from unreel.video.sources.piece_reader import clear_recent_pieces
from unreel.video.sources.source import open_source
from unreel.video.synthetic.drawn_video import FPS, NUM_FRAMES

# Beyond these a header is damaged: frames, frames per second, seconds of a file (a week), mean seconds of a frame.
MAX_FRAMES, MAX_FPS = 2**24, 1e5
MAX_DURATION_S, MAX_MEAN_FRAME_S, LONG_FRAME_S = 7 * 86_400.0, 86_400.0, 60.0
CUT_REASONS = ("not a video", "no video stream", "damaged", "no frames", "unreadable")  # what a cut may look like
MAX_COMPARED_KEYS = 256
UNSIZED_FORMATS = frozenset(
    {"mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc", "h261", "h263", "nut", "rm", "ogg", "asf"}
)
REORDERED_FRAMES = 8  # so many of the last frames may be shown in another order than they lie in the file
BYTES_BEHIND = b"\xff" * 64  # a decoder takes bytes that are missing for zeros
MAX_MISSING_FRAMES = 0.75  # an end that is nearer than this to the stated one is that end


def index_frames(path: str | Path) -> FrameIndex:
    """Find all frames of a file by demuxing it once; the result is cached until the file changes.

    A file that was cut off has the frames before the cut; `cut_off` says so. Raises VideoError when it can't be used.

    >>> index = index_frames(video)
    >>> index.num_frames, index.times_s[:3].tolist()
    (20, [0.0, 0.04, 0.08])
    """
    return build_frame_index(str(path), *open_source(path).check())


def clear_caches() -> None:
    """Forget all indexes and pieces, so that each file is read as if for the first time; for measuring."""
    build_frame_index.cache_clear()
    clear_recent_pieces()


@lru_cache(maxsize=2048)
def build_frame_index(path: str, version: str, size_bytes: int) -> FrameIndex:
    """`index_frames`, cached by path, version and size of the file."""
    if is_synthetic(path):
        none = np.zeros(0, dtype=np.int64)
        return FrameIndex(np.arange(NUM_FRAMES) / FPS, np.arange(NUM_FRAMES), none, none, none, none)
    data = open_source(path).read_packed()
    if data is not None:
        return parse_mp4_index(data) or _index_by_packets(path, version, size_bytes, None)
    truncation = _find_truncation(path, size_bytes)
    try:
        return _index_by_packets(path, version, size_bytes, truncation)
    except VideoError as error:
        if truncation and error.reason in CUT_REASONS:
            raise VideoError(path, "truncated", truncation.detail) from error
        raise


def _find_truncation(path: str, size_bytes: int) -> Truncation | None:
    """What is missing at the end of a file by its own sizes. Raises VideoError: unreadable."""
    try:
        return find_truncation(path, size_bytes)
    except OSError as error:
        raise VideoError(path, "unreadable", error.strerror or str(error)) from error


def _index_by_packets(path: str, version: str, size_bytes: int, truncation: Truncation | None) -> FrameIndex:
    """The index of a file, from its packets, or where these do not tell, from decoding it once. Raises VideoError."""
    container, stream = open_container(path)
    with closing(container):
        inspector = PictureInspector(stream.codec_context, container.format.name)
        packets = demux_packets(path, container, stream, inspector, truncation)
        cut_off = _describe_cut(truncation, packets, container, stream)
        states_no_size = container.format.name in UNSIZED_FORMATS
    if packets.can_sort and inspector.keys_can_be_trusted:
        order = _find_first_frames(path, packets, sort_by_timestamp(packets))
        if not len(order):
            raise VideoError(path, "no frames")
        index = build_index(packets, order)
        if cut_off or states_no_size:
            index = _cut_index(path, packets, index, _decode_end(path, index), cut_off)
        return validate_times(path, index)
    if (cached := load_index(path, version, size_bytes)) is not None:
        index = cached
    else:
        index, is_good_L = _decode_for_index(path, packets, inspector.keys_can_be_trusted)
        if cut_off or states_no_size:
            index = _cut_index(path, packets, index, is_good_L, cut_off)
        save_index(path, version, size_bytes, index)
    return validate_times(path, index)


def _decode_end(path: str, index: FrameIndex) -> np.ndarray:
    """Whether each frame can be decoded, bool (L,); those before the last but one key picture count as good."""
    start = max(0, len(index.key_packets) - 2)
    with closing(open_reader(path, index)) as reader:
        good = [i for i, frame in reader.decode_from(start) if not frame.is_corrupt]
    is_good_L = np.arange(index.num_frames) < index.first_intact_frames[start]
    is_good_L[good] = True
    return is_good_L


def _cut_index(path: str, packets: PacketTable, index: FrameIndex, is_good_L: np.ndarray, cut_off: str) -> FrameIndex:
    """The index of a file that was cut off, without the frames that can't be decoded at its end. Raises VideoError.

    A container that states no size (`cut_off` is "") was cut off where the last packets can't be decoded, and none
    after them can. Damage before the last but one key picture is no cut; what is shown before the last one may need
    what follows it.
    """
    is_end_L = np.arange(index.num_frames) >= index.first_intact_frames[max(0, len(index.key_packets) - 2)]
    bad_packets, good_packets = index.frame_packets[~is_good_L & is_end_L], index.frame_packets[is_good_L]
    last_packet = len(packets.timestamps) - 1
    if last_packet in index.damaged_packets or (packets.may_end_in_half and _ends_in_half_a_picture(path, index)):
        bad_packets, good_packets = np.append(bad_packets, last_packet), good_packets[good_packets < last_packet]
    if not len(bad_packets):
        return replace(index, cut_off=cut_off)
    if not cut_off and good_packets.max(initial=-1) > bad_packets.min():
        return index  # damage elsewhere
    cut_off = cut_off or "its last pictures are incomplete"
    kept = index.frame_packets[index.frame_packets < bad_packets.min()]
    if not len(kept):
        raise VideoError(path, "truncated", cut_off)
    return replace(build_index(packets, kept), damaged_packets=index.damaged_packets, cut_off=cut_off)


def _ends_in_half_a_picture(path: str, index: FrameIndex) -> bool:
    """Whether the last packet gives no picture, or another one with bytes behind it: its decoder looks for its end."""
    pictures = []
    for tail in (b"", BYTES_BEHIND):
        with closing(open_reader(path, index)) as reader:
            frame = reader.decode_last_packet(tail)
            pictures.append(None if frame is None else hash_picture(path, frame))
    return None in pictures or pictures[0] != pictures[1]


def validate_times(path: str, index: FrameIndex) -> FrameIndex:
    """Return the index. Raises VideoError for impossible times: a damaged header, a jump of the clock.

    A time lapse may show a frame for hours; where frames are short and yet last long in the mean, the clock jumps.
    """
    count, length_s = index.num_frames, float(index.times_s[-1])
    mean_s = float(index.times_s[-1] - index.times_s[0]) / max(1, count - 1)
    jumps = mean_s > LONG_FRAME_S and mean_s > 10 * np.median(np.diff(index.times_s))
    if not 0 <= length_s <= MAX_DURATION_S or mean_s > MAX_MEAN_FRAME_S or jumps:
        raise VideoError(path, "damaged", f"{count} frames that last {length_s:.6g} s")
    if not 0 < index.fps <= MAX_FPS:
        raise VideoError(path, "damaged", f"{index.fps:.6g} frames a second")
    return index


def demux_packets(
    path: str, container: Any, stream: av.VideoStream, inspector: PictureInspector, truncation: Truncation | None
) -> PacketTable:
    """Collect time stamps, size and kind of every packet in one pass, but of one that a cut has left incomplete.

    Raises VideoError: damaged, no frames.
    """
    packets = _start_table(container, stream)
    may_end, must_look = (
        bool(truncation) or inspector.may_change,
        inspector.must_look,
    )  # asked once, not for each packet
    try:
        for n, packet in enumerate(iter_packets(container, stream)):
            if n == MAX_FRAMES:
                raise VideoError(path, "damaged", f"more than {MAX_FRAMES} frames")
            if may_end and _ends_before(path, packet, packets, inspector, truncation):
                break
            if must_look:
                inspector.look(packet)
            _add_packet(packets, packet, inspector)
    except av.FFmpegError as error:
        packets.is_broken_off, reason = True, classify_error(error, "damaged")
        if container.format.name == "ogg" and packets.timestamps and reason == "damaged":
            packets.left_out = "another Ogg stream follows that can't be joined to it; cut it there to use both parts"
        elif not truncation:
            raise VideoError(path, reason, describe_error(error)) from error
    if truncation and truncation.spoils_last:
        packets.drop_last()  # a decoder takes half a picture without a word
    if not packets.timestamps:
        raise VideoError(path, "no frames")
    packets.may_end_in_half = inspector.codec in CONTENT_CODECS
    packets.key_packets, packets.begins_at_key = packets.key_packets or [0], inspector.needs_key_first
    # Containers without offsets between decoding and showing (AVI, mp4 without ctts): the stamps only count packets.
    packets.has_other_order = (
        bool(packets.header_packets)
        or inspector.has_lone_fields
        or inspector.has_empty_pictures
        or inspector.has_packed_pictures
        or (inspector.has_b_pictures and bool((np.diff(packets.filled_timestamps) >= 0).all()))
    )
    return packets


def _ends_before(
    path: str, packet: av.Packet, packets: PacketTable, inspector: PictureInspector, truncation: Truncation | None
) -> bool:
    """Whether what can be read ends before this packet: a cut has left it incomplete, or it is of another codec.

    Raises VideoError where the packets before it can't be read either.
    """
    if truncation and packet.is_corrupt:
        packets.is_broken_off = True
    elif other := inspector.find_other_codec(packet):
        if not packets.timestamps:
            raise VideoError(path, "damaged", f"videos in {other} and {inspector.codec} joined; cut it there")
        packets.left_out = f"it goes on in another codec, {other}; cut it there to use both parts"
        packets.drop_last()  # the demuxer loses pictures where the codec changes
    return packets.is_broken_off or bool(packets.left_out)


def _start_table(container: Any, stream: av.VideoStream) -> PacketTable:
    tick_s = float(stream.time_base or 0)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    start_s = find_clock_start(container, stream)
    start = float(start_s / stream.time_base) if start_s is not None and stream.time_base else np.inf
    return PacketTable(tick_s, 1 / rate, start)


def _add_packet(packets: PacketTable, packet: av.Packet, inspector: PictureInspector) -> None:
    if inspector.is_key(packet):
        packets.key_packets.append(len(packets.timestamps))
    packets.timestamps.append(get_timestamp(packet))
    packets.decode_timestamps.append(packet.dts)
    packets.sizes_bytes.append(packet.size)
    # VP8 has packets that are only references for others; bit 4 is set for those that are shown.
    packets.is_hidden.append(packet.is_discard or (inspector.codec == "vp8" and not bytes(packet)[0] & 0x10))
    if inspector.may_be_header and inspector.is_header(packet):
        packets.header_packets.append(len(packets.is_hidden) - 1)


def _describe_cut(truncation: Truncation | None, packets: PacketTable, container: Any, stream: av.VideoStream) -> str:
    """What is missing, where frames are missing and not only a size is wrong; else ""."""
    if truncation is None or packets.left_out:
        return packets.left_out
    is_cut = truncation.is_certain or packets.is_broken_off or _ends_early(packets, container, stream)
    return truncation.detail if is_cut else ""


def _ends_early(packets: PacketTable, container: Any, stream: av.VideoStream) -> bool:
    """Whether the last frame ends before the time that the header states, or one of the last frames is missing."""
    stamps = sorted(stamp for stamp in packets.timestamps if stamp is not None)
    steps = np.diff(stamps)
    if len(steps) > REORDERED_FRAMES and steps[-REORDERED_FRAMES:].max() > 1.5 * np.median(steps):
        return True  # a picture that is shown before the last ones comes after them in the file
    if stream.duration is not None:
        stated_s = float(((stream.start_time or 0) + stream.duration) * (stream.time_base or 0))
    elif container.duration is not None:
        stated_s = ((container.start_time or 0) + container.duration) / av.time_base
    else:
        return True
    end_s = (max(stamps) * packets.tick_s if stamps else 0.0) + packets.frame_s
    return stated_s - end_s > MAX_MISSING_FRAMES * packets.frame_s


def _find_first_frames(path: str, packets: PacketTable, order: np.ndarray) -> np.ndarray:
    """`order` without what the decoder does not give at the start, where the first packets may be undecodable.

    The file is decoded up to its second key packet; from there on all frames come out.
    """
    if not packets.may_begin_broken:
        return order
    last = packets.key_packets[1] if len(packets.key_packets) > 1 else len(packets.timestamps)
    position_by_packet = {packet: i for i, packet in enumerate(order.tolist())}
    decoded: list[int] = []
    for n, _ in _decode_in_sequence(path, packets, []):
        if n >= last and n in position_by_packet:
            return np.concatenate([np.array(decoded, dtype=np.int64), order[position_by_packet[n] :]])
        decoded.append(n)
    return np.array(decoded, dtype=np.int64)


def _decode_for_index(path: str, packets: PacketTable, keys_can_be_trusted: bool) -> tuple[FrameIndex, np.ndarray]:
    """The index of a file that is decoded from start to end, and whether each frame has no errors, bool (L,).

    Raises VideoError: no frames.
    """
    damaged: list[int] = []
    order: list[int] = []
    is_good: list[bool] = []
    hash_by_packet: dict[int, int] = {}
    keys = set() if keys_can_be_trusted else set(packets.key_packets)
    progress = LongRead(path, "decoded once to find its frames", len(packets.timestamps))
    for n, frame in _decode_in_sequence(path, packets, damaged):
        progress.advance(n)
        order.append(n)
        is_good.append(not frame.is_corrupt)
        if n in keys:
            hash_by_packet[n] = hash_picture(path, frame)
    if not order:
        raise VideoError(path, "no frames")
    index = build_index(packets, order)
    if hash_by_packet and len(index.key_packets) > 1:
        packets.key_packets = _find_true_keys(path, index, hash_by_packet)
        index = build_index(packets, order)
    damaged = [n for n in damaged if n not in packets.header_packets]
    return replace(index, damaged_packets=np.array(damaged, dtype=np.int64)), np.array(is_good)


def _decode_in_sequence(path: str, packets: PacketTable, damaged: list[int]) -> Iterator[tuple[int, Any]]:
    """(packet, frame) of all frames in the order they are shown; `damaged` receives the packets with errors.

    Where the file may begin with pictures whose references are missing, errors before the first frame do not count.
    """
    with closing(open_reader(path, build_sequential_index(packets))) as reader:
        for position, (n, frame) in enumerate(reader.decode_from(0)):
            if position == 0 and packets.may_begin_broken:
                reader.damaged_packets.clear()
            yield n, frame
        damaged += reader.damaged_packets


def _find_true_keys(path: str, index: FrameIndex, hash_by_packet: dict[int, int]) -> list[int]:
    """The key packets whose picture is the same when a fresh decoder begins with it, and in sequence.

    At most MAX_COMPARED_KEYS are tried, evenly over the file; a decoder of these codecs may remember earlier pictures.
    """
    tried = np.linspace(0, len(index.key_packets) - 1, MAX_COMPARED_KEYS).astype(int)
    keys = []
    for k in np.unique(tried):
        with closing(open_reader(path, index)) as reader:
            _, frame = next(reader.decode_from(int(k)), (0, None))
        key = int(index.key_packets[k])
        if frame is not None and hash_picture(path, frame) == hash_by_packet.get(key):
            keys.append(key)
    return keys or [0]
