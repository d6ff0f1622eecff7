"""The index of a file whose packets do not tell which frames come out: it is decoded once from its start."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from unreel.errors import VideoError
from unreel.video.reading.container import open_reader
from unreel.video.reading.frame_index import FrameIndex, PacketTable, build_index, build_sequential_index
from unreel.video.reading.rgb_conversion import hash_picture
from unreel.video.sources.long_read import LongRead

MAX_COMPARED_KEYS = 256


def find_first_frames(path: str, packets: PacketTable, order: np.ndarray) -> np.ndarray:
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


def decode_for_index(path: str, packets: PacketTable, keys_can_be_trusted: bool) -> tuple[FrameIndex, np.ndarray]:
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
