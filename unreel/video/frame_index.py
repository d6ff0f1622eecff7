"""Which packet of a file holds which frame, worked out from one demux pass. Arithmetic only; `file.py` does the reading."""

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
    first      int64 (K,), ascending: the first frame that comes out intact when decoding begins there
    """

    times_s: np.ndarray
    order: np.ndarray
    stamps: np.ndarray
    keys: np.ndarray
    first: np.ndarray


@dataclass
class Packets:
    """What a demux pass tells about P packets: stamp (pts, else dts), which are key packets, which are never shown.

    `reordered` when the decoder gives frames in another order than the stamps say.
    """

    stamps: list[int | None] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    reordered: bool = False

    @property
    def can_seek(self) -> bool:
        """Whether each packet is known by its stamp."""
        return None not in self.stamps and len(set(self.stamps)) == len(self.stamps)

    @property
    def leads(self) -> bool:
        """Whether packets behind the first key packet are shown before it: their references may be missing."""
        start = self.keys[0]
        return self.can_seek and min(self.known()[start:]) < self.known()[start]

    def known(self) -> list[int]:
        """The stamps, 0 for those that are missing."""
        return [stamp or 0 for stamp in self.stamps]


def by_stamp(packets: Packets) -> np.ndarray:
    """Packets in the order of their stamps, without those that are never shown or come before the first key packet."""
    stamps, hidden = np.asarray(packets.known(), dtype=np.int64), np.asarray(packets.hidden, dtype=bool)
    shown = np.flatnonzero(~hidden)
    shown = shown[shown >= packets.keys[0]]
    return shown[np.argsort(stamps[shown], kind="stable")]


def build(packets: Packets, order: Sequence[int] | np.ndarray, second: float, fps: float) -> FrameIndex:
    """Put the index together. `second` is the length of a stamp's unit, `fps` the rate where there are no stamps."""
    order = np.asarray(order, dtype=np.int64)
    if not packets.can_seek:
        times_s, start = np.arange(len(order)) / fps, np.zeros(1, dtype=np.int64)
        return FrameIndex(times_s, order, np.empty(0, dtype=np.int64), start + packets.keys[0], start)
    stamps, keys = np.asarray(packets.stamps, dtype=np.int64), np.asarray(packets.keys, dtype=np.int64)
    shown = np.sort(stamps[order])
    frame_of = {int(packet): frame for frame, packet in enumerate(order)}
    first = np.array([frame_of.get(k, np.searchsorted(shown, stamps[k])) for k in packets.keys], dtype=np.int64)
    ascending = first == np.maximum.accumulate(first)
    first[0] = 0
    return FrameIndex((shown - shown[0]) * second, order, stamps, keys[ascending], first[ascending])
