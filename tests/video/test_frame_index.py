"""Which packets decoding may begin with, and how they are reached, by tables written by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from unreel.video.reading.frame_index import PacketTable, build_index
from unreel.video.reading.frame_reader import FrameReader
from unreel.video.reading.frame_times import NO_TIMESTAMP, compute_times


def table(timestamps: list[int | None], **more: object) -> PacketTable:
    """Packets of 10 bytes, every third of which is a key packet."""
    count = len(timestamps)
    keys = list(range(0, count, 3))
    return PacketTable(0.04, 0.04, 0.0, timestamps, timestamps, [10] * count, keys, [False] * count, **more)  # type: ignore[arg-type]


def test_what_follows_other_headers_is_no_start() -> None:
    """A decoder that begins there has not seen them (Theora)."""
    packets = table(list(range(9)), header_packets=[4])
    assert build_index(packets, [0, 1, 2, 3, 5, 6, 7, 8]).key_packets.tolist() == [0, 3]


def test_where_stamps_are_shared_no_packet_is_found_by_its_stamp() -> None:
    index = build_index(table([0, 1, 2, 3, 0, 1, 2, 7, 8]), range(9))
    assert index.key_packets.tolist() == [0, 3, 6] and set(index.packet_timestamps.tolist()) == {NO_TIMESTAMP}


@pytest.mark.parametrize("stamps", [[0, 1, 2, None, 4, 5, 6, 7, 8], [None] * 9])
def test_a_key_packet_without_a_stamp_is_reached_from_the_start(stamps: list[int | None]) -> None:
    index = build_index(table(stamps), range(9))
    packets = [SimpleNamespace(pts=stamp, dts=stamp, size=10) for stamp in stamps]
    container = SimpleNamespace(demux=lambda _stream: iter(packets), close=lambda: None, seek=pytest.fail)
    reader = FrameReader("a.ts", index, lambda _path: (container, None), OSError)
    assert index.key_packets.tolist() == [0, 3, 6]
    assert next(reader._iter_packets_from(1)) == (3, packets[3])
    assert np.isfinite(index.times_s).all()


def test_stamps_that_ascend_are_taken_although_packets_are_read_again() -> None:
    """An edit list that shows two stretches reads what the second one needs again, with decoding times that go back."""
    stamps, restarts = np.array([0, 4, 8, 20, 24]), np.array([0, 0, 0, 1, 1])
    assert compute_times(stamps, restarts, 0.0, 0.01, 0.04).tolist() == [0.0, 0.04, 0.08, 0.2, 0.24]
    back = compute_times(np.array([0, 4, 8, 0, 4]), restarts, 0.0, 0.01, 0.04)  # a joined recording
    assert np.allclose(back, [0.0, 0.04, 0.08, 0.12, 0.16])
