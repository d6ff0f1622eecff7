"""Which packet of a file holds which frame, worked out from one demux pass. Arithmetic only; `file.py` reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Where every frame is: L frames in the order they are shown, P packets in file order, K points to start from.

    times_s    float64 (L,), ascending, 0 for frame 0
    order      int64 (L,), the packet that holds each frame
    stamps     int64 (P,), the container's time stamp of each packet; empty when seeking by them is not possible
    keys       int64 (K,), packets that decoding can begin with
    key_bytes  int64 (K,), their sizes
    first      int64 (K,), ascending: the first frame that comes out intact when decoding begins there
    """

    times_s: np.ndarray
    frame_packets: np.ndarray
    packet_timestamps: np.ndarray
    key_packets: np.ndarray
    key_packet_bytes: np.ndarray
    first_intact_frames: np.ndarray

    @property
    def fps(self) -> float:
        """Mean rate in frames per second; 25 for a single frame, which has none."""
        return (len(self.times_s) - 1) / float(self.times_s[-1]) if self.times_s[-1] > 0 else 25.0

    def is_variable(self, tick_s: float) -> bool:
        """Whether frames stay on for times that differ by over a tenth, and by more than rounding to a tick."""
        steps = np.diff(self.times_s)
        return len(steps) > 1 and bool(np.ptp(steps) > 0.1 * np.median(steps) + 2 * tick_s)


@dataclass
class PacketTable:
    """What a demux pass tells about P packets: stamp (pts, else dts), bytes, which are key, which are never shown.

    `reordered` when the decoder gives frames in another order than the stamps say.
    """

    timestamps: list[int | None] = field(default_factory=list)
    sizes_bytes: list[int] = field(default_factory=list)
    key_packets: list[int] = field(default_factory=list)
    is_hidden: list[bool] = field(default_factory=list)
    is_reordered: bool = False

    @property
    def can_seek(self) -> bool:
        """Whether each packet is known by its stamp."""
        return None not in self.timestamps and len(set(self.timestamps)) == len(self.timestamps)

    @property
    def has_leading_frames(self) -> bool:
        """Whether packets behind the first key packet are shown before it: what they refer to may be missing."""
        start, known = self.key_packets[0], self.filled_timestamps
        return self.can_seek and min(known[start:]) < known[start]

    @property
    def filled_timestamps(self) -> list[int]:
        """The stamps, 0 for those that are missing."""
        return [stamp or 0 for stamp in self.timestamps]


def sort_by_timestamp(packets: PacketTable) -> np.ndarray:
    """Packets in the order of their stamps, without those that are never shown or come before the first key packet."""
    shown = np.flatnonzero(~np.asarray(packets.is_hidden, dtype=bool))
    shown = shown[shown >= packets.key_packets[0]]
    return shown[np.argsort(np.asarray(packets.filled_timestamps, dtype=np.int64)[shown], kind="stable")]


def build_index(
    packets: PacketTable, frame_packets: Sequence[int] | np.ndarray, tick_s: float, fps: float
) -> FrameIndex:
    """Put the index together. `tick_s` is the unit of the stamps, `fps` the rate to assume where there are none."""
    frame_packets = np.asarray(frame_packets, dtype=np.int64)
    if not packets.can_seek:
        return build_sequential_index(packets, frame_packets, fps)
    stamps, keys = np.asarray(packets.timestamps, dtype=np.int64), np.asarray(packets.key_packets, dtype=np.int64)
    shown = np.sort(stamps[frame_packets])
    frame_of = {packet: i for i, packet in enumerate(frame_packets.tolist())}
    first = np.array([frame_of.get(k, np.searchsorted(shown, stamps[k])) for k in packets.key_packets], dtype=np.int64)
    first[0] = 0
    ascending = first == np.maximum.accumulate(first)
    keys, first = keys[ascending], first[ascending]
    return FrameIndex(
        (shown - shown[0]) * tick_s, frame_packets, stamps, keys, np.asarray(packets.sizes_bytes)[keys], first
    )


def build_sequential_index(packets: PacketTable, frame_packets: np.ndarray, fps: float) -> FrameIndex:
    """The index of a file that can only be decoded in a row from its first key packet."""
    keys, none = np.array(packets.key_packets[:1], dtype=np.int64), np.empty(0, dtype=np.int64)
    return FrameIndex(
        np.arange(len(frame_packets)) / fps, frame_packets, none, keys, np.asarray(packets.sizes_bytes)[keys], keys * 0
    )
