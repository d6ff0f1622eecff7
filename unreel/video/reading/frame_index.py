"""Which packet of a file holds which frame, computed from one demux pass. Arithmetic only; packet_index.py reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from unreel.video.reading.frame_times import NO_TIMESTAMP, compute_times, find_clock_restarts

MAX_JITTER_S = 0.4  # a clock that steps back by more begins again; containers guess decoding times by some frames


PacketRow = tuple[int | None, int | None, int, bool]
"""A packet's time stamp (pts, else dts), dts, size in bytes, and whether it is never shown."""


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """L frames in the order they are shown, P packets in file order, K key packets that decoding can begin with.

    times_s              float64 (L,), ascending, seconds on the file's clock, which begins with its earliest stream
    frame_packets        int64 (L,), the packet of each frame
    packet_timestamps    int64 (P,), the container's time stamps, NO_TIMESTAMP where there is none of a packet's own
    key_packets          int64 (K,), the first packet among them
    key_packet_bytes     int64 (K,), sizes of the key packets
    first_intact_frames  int64 (K,), ascending: the first frame that is intact when decoding begins at the key packet
    damaged_packets      int64, packets whose decoding raises an error, where the file was decoded for the index
    cut_off              what is missing at the end of the file, in words; "" for nothing
    """

    times_s: np.ndarray
    frame_packets: np.ndarray
    packet_timestamps: np.ndarray
    key_packets: np.ndarray
    key_packet_bytes: np.ndarray
    first_intact_frames: np.ndarray
    damaged_packets: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    cut_off: str = ""

    @property
    def num_frames(self) -> int:
        return len(self.frame_packets)

    @property
    def fps(self) -> float:
        """Mean frames per second; 25 for a single frame."""
        length_s = float(self.times_s[-1] - self.times_s[0])
        return (len(self.times_s) - 1) / length_s if length_s > 0 else 25.0

    def is_variable(self, tick_s: float) -> bool:
        """Whether durations of frames differ by more than a tenth and more than rounding to ticks explains."""
        steps = np.diff(self.times_s)
        return len(steps) > 1 and bool(np.ptp(steps) > 0.1 * np.median(steps) + 2 * tick_s)


@dataclass
class PacketTable:
    """P packets as demuxed: time stamp (pts, else dts), dts, size, which are key packets, which are never shown.

    `start` is the first stamp of the file's clock in ticks of `tick_s`, `frame_s` a frame's duration by the header.
    `has_other_order` is set when frames come in another order, or number, than the stamps of their packets,
    `begins_at_key` when what comes before the first key packet is not shown, `has_edits` when decoding times that step
    back begin another stretch of an edit list, `is_broken_off` when the last packets of the file are incomplete;
    `left_out` says what follows them that can't be read with them, in words, `may_end_in_half` is set where the decoder
    takes half a picture without an error, `ends_in_half` where the last packet is visibly one.
    """

    tick_s: float
    frame_s: float
    start: float
    timestamps: list[int | None] = field(default_factory=list)
    decode_timestamps: list[int | None] = field(default_factory=list)
    sizes_bytes: list[int] = field(default_factory=list)
    key_packets: list[int] = field(default_factory=list)
    is_hidden: list[bool] = field(default_factory=list)
    header_packets: list[int] = field(default_factory=list)
    left_out: str = ""
    may_end_in_half: bool = False
    ends_in_half: bool = False
    has_other_order: bool = False
    begins_at_key: bool = False
    has_edits: bool = False
    is_broken_off: bool = False

    @property
    def first_packet(self) -> int:
        """Where a decoder begins that reads the whole file."""
        return self.key_packets[0] if self.begins_at_key else 0

    def fill(self, rows: Sequence[PacketRow]) -> None:
        """Take over the packets of a file, in its order."""
        stamps, decode_stamps, sizes_bytes, is_hidden = zip(*rows, strict=True)
        self.timestamps, self.decode_timestamps = list(stamps), list(decode_stamps)
        self.sizes_bytes, self.is_hidden = list(sizes_bytes), list(is_hidden)
        self.key_packets = [key for key in self.key_packets if key < len(rows)]

    @cached_property
    def restarts(self) -> np.ndarray:
        """How often the clock has stepped back up to each packet, int64 (P,)."""
        if None not in self.decode_timestamps and self.decode_timestamps == sorted(self.decode_timestamps):  # type: ignore[type-var]
            return np.zeros(len(self.timestamps), dtype=np.int64)
        jitter_s = self.frame_s if self.has_edits else MAX_JITTER_S
        return find_clock_restarts(self.decode_timestamps, jitter_s / self.tick_s if self.tick_s else 0.0)

    @cached_property
    def has_own_stamps(self) -> bool:
        """Whether every packet has a time stamp that no other has."""
        return None not in self.timestamps and len(set(self.timestamps)) == len(self.timestamps)

    @property
    def can_sort(self) -> bool:
        """Whether the order of frames is that of the time stamps: each packet has its own, on one clock."""
        return self.has_own_stamps and not self.has_other_order and not self.restarts.any()

    @property
    def may_begin_broken(self) -> bool:
        """Whether the first frames may not come out of the decoder: their references are missing."""
        stamps = self.filled_timestamps[self.first_packet :]
        return self.key_packets[0] > self.first_packet or bool((stamps < stamps[0]).any())

    @cached_property
    def filled_timestamps(self) -> np.ndarray:
        """The time stamps, NO_TIMESTAMP where one is missing; int64 (P,)."""
        if None in self.timestamps:
            return np.array([NO_TIMESTAMP if stamp is None else stamp for stamp in self.timestamps], dtype=np.int64)
        return np.array(self.timestamps, dtype=np.int64)

    @property
    def stamps_count_packets(self) -> bool:
        """Whether time stamps never step back, as those do that number the packets of a file."""
        stamps = self.filled_timestamps
        return bool((stamps[1:] >= stamps[:-1]).all())

    @cached_property
    def own_timestamps(self) -> np.ndarray:
        """The time stamps that packets can be found by, int64 (P,): NO_TIMESTAMP where there is none.

        Where packets share stamps no other is taken either: a seek may land in another copy of them.
        """
        stamps = self.filled_timestamps
        known = stamps[stamps != NO_TIMESTAMP]
        is_shared = not self.has_own_stamps and len(np.unique(known)) < len(known)
        return np.full_like(stamps, NO_TIMESTAMP) if is_shared else stamps


def sort_by_timestamp(packets: PacketTable) -> np.ndarray:
    """Packets by ascending time stamp, without those that are never shown."""
    order = np.argsort(packets.filled_timestamps, kind="stable")
    if packets.first_packet or any(packets.is_hidden):
        is_hidden = np.asarray(packets.is_hidden, dtype=bool)
        order = order[(order >= packets.first_packet) & ~is_hidden[order]]
    return order


def build_index(packets: PacketTable, frame_packets: Sequence[int] | np.ndarray) -> FrameIndex:
    """The index of a file whose frames, in the order they are shown, are in these packets."""
    frame_packets = np.asarray(frame_packets, dtype=np.int64)
    stamps, restarts = packets.filled_timestamps[frame_packets], packets.restarts[frame_packets]
    times_s = compute_times(stamps, restarts, packets.start, packets.tick_s, packets.frame_s)
    keys, first = find_starts(packets, frame_packets)
    sizes_bytes = np.array([packets.sizes_bytes[key] for key in keys.tolist()], dtype=np.int64)
    return FrameIndex(times_s, frame_packets, packets.own_timestamps, keys, sizes_bytes, first)


def find_starts(packets: PacketTable, frame_packets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Packets that decoding can begin with, int64 (K,), and the first frame that is intact then, int64 (K,).

    The first packet of a whole decode is always one. A key packet must be that of a frame (not its second field) or one
    that is never shown. What follows other headers inside the file needs them.
    """
    start = packets.first_packet
    if packets.key_packets[-1] <= start:
        return np.array([start]), np.array([0])
    frame_by_packet = np.full(len(packets.timestamps), -1, dtype=np.int64)
    frame_by_packet[frame_packets] = np.arange(len(frame_packets))
    keys = np.array([key for key in packets.key_packets if key > start], dtype=np.int64)
    keys = keys[keys < min(packets.header_packets, default=len(packets.timestamps))]
    can_begin = (frame_by_packet[keys] >= 0) | np.asarray(packets.is_hidden, dtype=bool)[keys]
    keys = keys[can_begin]
    frames_before = np.maximum.accumulate(frame_by_packet)[keys - 1] + 1
    first = np.where(frame_by_packet[keys] >= 0, frame_by_packet[keys], frames_before)
    keys, first = np.concatenate([[start], keys]), np.concatenate([[0], first])
    ascending = first == np.maximum.accumulate(first)
    return keys[ascending], first[ascending]


def build_sequential_index(packets: PacketTable) -> FrameIndex:
    """The index of a file that is decoded once from its first packet, each packet taken for a frame."""
    numbers, none = np.arange(len(packets.timestamps)), np.empty(0, dtype=np.int64)
    start = np.array([packets.first_packet])
    size_bytes = np.asarray(packets.sizes_bytes)[start]
    return FrameIndex(numbers * packets.frame_s, numbers, none, start, size_bytes, start)
