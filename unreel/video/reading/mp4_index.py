"""Read the frame index of a packed piece from the tables of the mp4, at a tenth of the cost of demuxing it.

Only for files as `unreel pack` writes them: one track, frames in decoding order. Others are demuxed.
Source: ISO/IEC 14496-12, 8.6 (times and key samples) and 8.7 (sizes).
"""

from collections.abc import Iterator

import numpy as np

from unreel.video.reading.frame_index import FrameIndex
from unreel.video.sources.iso_boxes import BOX_HEADER_BYTES, parse_box_header

CONTAINER_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def parse_mp4_index(data: bytes) -> FrameIndex | None:
    """The index of an mp4 in memory; None when it is not as `unreel pack` writes it."""
    boxes: dict[bytes, bytes] = {}
    for name, content in _iter_leaf_boxes(data, 0, len(data)):
        if name in boxes:
            return None  # two tracks
        boxes[name] = content
    is_simple = {b"mdhd", b"stts", b"stsz"} <= set(boxes) and b"ctts" not in boxes
    if not is_simple or not _starts_at_first_frame(boxes.get(b"elst")):
        return None
    counts, steps = _read_uint32s(boxes[b"stts"], 8).reshape(-1, 2).T
    common_size, num_frames = _read_uint32s(boxes[b"stsz"], 4)[:2].tolist()
    sizes = np.full(num_frames, common_size) if common_size else _read_uint32s(boxes[b"stsz"], 12)
    durations = np.repeat(steps, counts)
    if len(durations) != num_frames or len(sizes) != num_frames or num_frames == 0:
        return None
    timestamps = np.concatenate([[0], np.cumsum(durations[:-1])])
    keys = _read_uint32s(boxes[b"stss"], 8) - 1 if b"stss" in boxes else np.arange(num_frames)
    times_s = timestamps * float(1 / _read_timescale(boxes[b"mdhd"]))
    return FrameIndex(times_s, np.arange(num_frames), timestamps, keys, sizes[keys], keys)


def _iter_leaf_boxes(data: bytes, start_byte: int, end_byte: int) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of the boxes without boxes inside, at any depth, except the encoded pictures."""
    while start_byte + 8 <= end_byte:
        name, length, header_bytes = parse_box_header(data[start_byte : start_byte + BOX_HEADER_BYTES])
        if length < header_bytes:
            return
        if name in CONTAINER_BOXES:
            yield from _iter_leaf_boxes(data, start_byte + header_bytes, start_byte + length)
        elif name != b"mdat":
            yield name, data[start_byte + header_bytes : min(end_byte, start_byte + length)]
        start_byte += length


def _read_uint32s(content: bytes, start_byte: int) -> np.ndarray:
    """All 32-bit numbers from a byte on, int64."""
    stop_byte = start_byte + (len(content) - start_byte) // 4 * 4
    return np.frombuffer(content[start_byte:stop_byte], dtype=">u4").astype(np.int64)


def _read_timescale(mdhd: bytes) -> int:
    """Ticks per second."""
    start_byte = 20 if mdhd[0] == 1 else 12
    return int.from_bytes(mdhd[start_byte : start_byte + 4], "big")


def _starts_at_first_frame(elst: bytes | None) -> bool:
    """Whether there is no edit list, or one that shows everything from the first frame on."""
    if elst is None:
        return True
    start = elst[16:24] if elst[0] == 1 else elst[12:16]
    return int.from_bytes(elst[4:8], "big") == 1 and int.from_bytes(start, "big") == 0
