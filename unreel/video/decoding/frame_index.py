"""Which packet of a file holds which frame, computed from one demux pass. Arithmetic only; packet_index.py reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """L frames in the order they are shown, P packets in file order, K key packets that decoding can begin with.

    times_s              float64 (L,), ascending, 0 for frame 0
    frame_packets        int64 (L,), the packet of each frame
    packet_timestamps    int64 (P,), the container's time stamps; empty when the file can't be seeked by them
    key_packets          int64 (K,)
    key_packet_bytes     int64 (K,), sizes of the key packets
    first_intact_frames  int64 (K,), ascending: the first frame that is intact when decoding begins at the key packet
    """

    times_s: np.ndarray
    frame_packets: np.ndarray
    packet_timestamps: np.ndarray
    key_packets: np.ndarray
    key_packet_bytes: np.ndarray
    first_intact_frames: np.ndarray

    @property
    def num_frames(self) -> int:
        return len(self.frame_packets)

    @property
    def fps(self) -> float:
        """Mean frames per second; 25 for a single frame."""
        return (len(self.times_s) - 1) / float(self.times_s[-1]) if self.times_s[-1] > 0 else 25.0

    def is_variable(self, tick_s: float) -> bool:
        """Whether durations of frames differ by more than a tenth and more than rounding to ticks explains."""
        steps = np.diff(self.times_s)
        return len(steps) > 1 and bool(np.ptp(steps) > 0.1 * np.median(steps) + 2 * tick_s)


@dataclass
class PacketTable:
    """P packets as demuxed: time stamp (pts, else dts), size, which are key packets, which are never shown.

    `is_reordered` is set when the decoder returns frames in another order than that of the time stamps.
    """

    timestamps: list[int | None] = field(default_factory=list)
    sizes_bytes: list[int] = field(default_factory=list)
    key_packets: list[int] = field(default_factory=list)
    is_hidden: list[bool] = field(default_factory=list)
    is_reordered: bool = False

    @property
    def can_seek(self) -> bool:
        """Whether every packet has a time stamp of its own."""
        return None not in self.timestamps and len(set(self.timestamps)) == len(self.timestamps)

    @property
    def has_leading_frames(self) -> bool:
        """Whether packets after the first key packet are shown before it, so that their references may be missing."""
        start, timestamps = self.key_packets[0], self.filled_timestamps
        return self.can_seek and min(timestamps[start:]) < timestamps[start]

    @property
    def filled_timestamps(self) -> list[int]:
        """The time stamps, 0 where one is missing."""
        return [timestamp or 0 for timestamp in self.timestamps]


def sort_by_timestamp(packets: PacketTable) -> np.ndarray:
    """Packets by ascending time stamp, without those that are never shown or come before the first key packet."""
    visible = np.flatnonzero(~np.asarray(packets.is_hidden, dtype=bool))
    visible = visible[visible >= packets.key_packets[0]]
    return visible[np.argsort(np.asarray(packets.filled_timestamps, dtype=np.int64)[visible], kind="stable")]


def build_index(
    packets: PacketTable, frame_packets: Sequence[int] | np.ndarray, tick_s: float, fps: float
) -> FrameIndex:
    """The index of a file. `tick_s` is the unit of the time stamps, `fps` the rate to assume where there are none."""
    frame_packets = np.asarray(frame_packets, dtype=np.int64)
    if not packets.can_seek:
        return build_sequential_index(packets, frame_packets, fps)
    timestamps, keys = np.asarray(packets.timestamps, dtype=np.int64), np.asarray(packets.key_packets, dtype=np.int64)
    sorted_timestamps = np.sort(timestamps[frame_packets])
    frame_by_packet = {packet: i for i, packet in enumerate(frame_packets.tolist())}
    first = np.array(
        [frame_by_packet.get(k, np.searchsorted(sorted_timestamps, timestamps[k])) for k in keys.tolist()], np.int64
    )
    first[0] = 0
    ascending = first == np.maximum.accumulate(first)
    keys, first = keys[ascending], first[ascending]
    return FrameIndex(
        (sorted_timestamps - sorted_timestamps[0]) * tick_s,
        frame_packets,
        timestamps,
        keys,
        np.asarray(packets.sizes_bytes)[keys],
        first,
    )


def build_sequential_index(packets: PacketTable, frame_packets: np.ndarray, fps: float) -> FrameIndex:
    """The index of a file that can only be decoded in sequence from its first key packet."""
    keys, none = np.array(packets.key_packets[:1], dtype=np.int64), np.empty(0, dtype=np.int64)
    return FrameIndex(
        np.arange(len(frame_packets)) / fps, frame_packets, none, keys, np.asarray(packets.sizes_bytes)[keys], keys * 0
    )
