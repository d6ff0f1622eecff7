"""Build the `FrameIndex` of a file by demuxing it once, in most cases without decoding.

Containers are unreliable: time stamps that only count packets (AVI), pictures that are stored and never shown (edit
lists, VP8), frames that can't be decoded after a seek (open GOP), key flags that are wrong, two packets for one frame.
Where the packets alone do not tell which frames come out, the file is decoded once from its start
(sequential_index.py), and the answer kept on the disk (index_cache.py).
"""

from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np

from unreel.errors import VideoError
from unreel.video.decoding.cut_files import PACKETS_BACK, cut_index, decode_end, describe_cut, find_later_stream
from unreel.video.decoding.index_cache import load_index, save_index
from unreel.video.decoding.sequential_index import decode_for_index, find_first_frames
from unreel.video.reading.container import open_container
from unreel.video.reading.demuxing import demux_packets
from unreel.video.reading.frame_index import FrameIndex, PacketTable, build_index, sort_by_timestamp
from unreel.video.reading.mp4_index import parse_mp4_index
from unreel.video.reading.picture_types import PictureInspector
from unreel.video.sources.integrity import Truncation, find_truncation
from unreel.video.sources.paths import is_synthetic
from unreel.video.sources.piece_reader import clear_recent_pieces
from unreel.video.sources.source import open_source
from unreel.video.synthetic.drawn_video import FPS, NUM_FRAMES

# Beyond these a header is damaged: frames per second, seconds of a file (a week), mean seconds of a frame.
MAX_FPS = 1e5
MAX_DURATION_S, MAX_MEAN_FRAME_S, LONG_FRAME_S = 7 * 86_400.0, 86_400.0, 60.0
CUT_REASONS = ("not a video", "no video stream", "damaged", "no frames", "unreadable")  # what a cut may look like
UNSIZED_FORMATS = frozenset(
    {"mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc", "h261", "h263", "nut", "rm", "ogg", "asf"}
)


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
        packets.left_out = packets.left_out or find_later_stream(path, container, stream)
        cut_off = describe_cut(truncation, packets, container, stream)
        states_no_size = container.format.name in UNSIZED_FORMATS
    if packets.can_sort and inspector.keys_can_be_trusted:
        order = find_first_frames(path, packets, sort_by_timestamp(packets))
        if not len(order):
            raise VideoError(path, "no frames")
        index = build_index(packets, order)
        if cut_off or states_no_size:
            index = _cut_at_end(path, version, size_bytes, packets, index, cut_off)
        return validate_times(path, index)
    if (cached := load_index(path, version, size_bytes)) is not None:
        index = cached
    else:
        index, is_good_L = decode_for_index(path, packets, inspector.keys_can_be_trusted)
        if cut_off or states_no_size:
            index = cut_index(path, packets, index, is_good_L, cut_off)
        save_index(path, version, size_bytes, index)
    return validate_times(path, index)


def _cut_at_end(
    path: str, version: str, size_bytes: int, packets: PacketTable, index: FrameIndex, cut_off: str
) -> FrameIndex:
    """The index up to the last frames that can be decoded; kept where finding them takes a look further back."""
    is_good_L = decode_end(path, index)
    if is_good_L.all():
        return cut_index(path, packets, index, is_good_L, cut_off)
    if (cached := load_index(path, version, size_bytes)) is not None:
        return cached
    is_good_L |= decode_end(path, index, PACKETS_BACK)
    index = cut_index(path, packets, index, is_good_L, cut_off)
    save_index(path, version, size_bytes, index)
    return index


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
