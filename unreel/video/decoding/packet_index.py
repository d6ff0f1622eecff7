"""Build the `FrameIndex` of a file by demuxing it once, in most cases without decoding.

Containers are unreliable: time stamps that only count packets (AVI), pictures that are stored and never shown (edit
lists, VP8), frames that can't be decoded after a seek (open GOP).
"""

from contextlib import closing
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from unreel.errors import VideoError
from unreel.video.decoding.container import classify_error, open_container, open_reader
from unreel.video.decoding.frame_index import (
    FrameIndex,
    PacketTable,
    build_index,
    build_sequential_index,
    sort_by_timestamp,
)
from unreel.video.decoding.frame_reader import describe_error, get_timestamp, iter_packets
from unreel.video.decoding.mp4_index import parse_mp4_index
from unreel.video.sources.paths import is_synthetic
from unreel.video.sources.piece_reader import clear_recent_pieces
from unreel.video.sources.source import open_source
from unreel.video.synthetic.drawn_video import FPS, NUM_FRAMES

# Beyond these a header is damaged: frames, frames per second, seconds of a file (a week), mean seconds of a frame.
MAX_FRAMES, MAX_FPS = 2**24, 1e5
MAX_DURATION_S, MAX_MEAN_FRAME_S = 7 * 86_400.0, 60.0


def index_frames(path: str | Path) -> FrameIndex:
    """Find all frames of a file by demuxing it once; the result is cached until the file changes.

    Raises VideoError when the file can't be used.

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
def build_frame_index(path: str, _version: str, _size_bytes: int) -> FrameIndex:
    """`index_frames`, cached by path, version and size of the file."""
    if is_synthetic(path):
        none = np.zeros(0, dtype=np.int64)
        return FrameIndex(np.arange(NUM_FRAMES) / FPS, np.arange(NUM_FRAMES), none, none, none, none)
    data = open_source(path).read_packed()
    if data is not None and (index := parse_mp4_index(data)) is not None:
        return index
    container, stream = open_container(path)
    with closing(container):
        packets = demux_packets(path, container, stream)
        tick_s, fps = float(stream.time_base or 0), float(stream.average_rate or stream.guessed_rate or 25)
    order = sort_by_timestamp(packets)
    if packets.is_reordered or not packets.can_seek:
        order = np.array(find_decoding_order(path, packets, None))
    elif packets.has_leading_frames and (decoded := find_decoding_order(path, packets, 1)):
        order = order[order.tolist().index(decoded[0]) :]
    if not len(order):
        raise VideoError(path, "no frames")
    return validate_times(path, build_index(packets, order, tick_s, fps))


def validate_times(path: str, index: FrameIndex) -> FrameIndex:
    """Return the index. Raises VideoError for impossible times: a damaged header, a jump of the clock."""
    count, length_s = index.num_frames, float(index.times_s[-1])
    if not 0 <= length_s <= MAX_DURATION_S or (count > 1 and length_s / (count - 1) > MAX_MEAN_FRAME_S):
        raise VideoError(path, "damaged", f"{count} frames that last {length_s:.6g} s")
    if not 0 < index.fps <= MAX_FPS:
        raise VideoError(path, "damaged", f"{index.fps:.6g} frames a second")
    return index


def demux_packets(path: str, container: Any, stream: av.VideoStream) -> PacketTable:
    """Collect time stamp, size and kind of every packet in one pass. Raises VideoError: damaged, no frames."""
    packets, codec = PacketTable(), stream.codec_context.name
    try:
        for n, packet in enumerate(iter_packets(container, stream)):
            if n == MAX_FRAMES:
                raise VideoError(path, "damaged", f"more than {MAX_FRAMES} frames")
            packets.timestamps.append(get_timestamp(packet))
            packets.sizes_bytes.append(packet.size)
            if packet.is_keyframe:
                packets.key_packets.append(n)
            # VP8 has packets that are only references for others; bit 4 is set for those that are shown.
            packets.is_hidden.append(packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & 0x10))
            # A packed bitstream (AVI) has a P and a B picture in one chunk, and an empty one in the next.
            packets.is_reordered |= codec == "mpeg4" and bytes(packet).count(b"\0\0\1\xb6") > 1
    except av.FFmpegError as error:
        raise VideoError(path, classify_error(error, "damaged"), describe_error(error)) from error
    if not packets.timestamps:
        raise VideoError(path, "no frames")
    packets.key_packets = packets.key_packets or [0]
    # H.264 with B pictures in AVI: the time stamps only count packets.
    is_sorted = packets.filled_timestamps == sorted(packets.filled_timestamps)
    packets.is_reordered |= codec in ("h264", "hevc") and bool(stream.codec_context.has_b_frames) and is_sorted
    return packets


def find_decoding_order(path: str, packets: PacketTable, limit: int | None) -> list[int]:
    """Packet numbers of the first `limit` frames (None: of all), in the order in which the decoder returns them."""
    with closing(open_reader(path, build_sequential_index(packets, np.arange(len(packets.timestamps)), 1.0))) as reader:
        return [n for n, _ in islice(reader.decode_from(0), limit)]
