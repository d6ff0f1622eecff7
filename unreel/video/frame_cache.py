"""Decoded frames that stay in memory, so that short videos are decoded in the first epoch alone.

Each loader process keeps its own, out of an equal share of the budget. Nothing is thrown out for something newer: an
epoch visits every instance once, and would throw each out before its return.
"""

from collections.abc import Callable

import numpy as np
from torch.utils.data import get_worker_info

from unreel.errors import VideoError

MAX_FRAMES = 300  # decoding more than this for the sake of one clip costs more than it saves
MB = 2**20


class FrameCache:
    """Whole instances, uint8 frames of `size` (H, W), as many as fit into `budget_mb` of all loader processes."""

    def __init__(self, budget_mb: int, size: tuple[int, int]) -> None:
        self.budget_mb, self.frame_bytes, self.used_bytes = budget_mb, size[0] * size[1] * 3, 0
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.refused: set[int] = set()

    def frames(
        self, index: int, wanted: np.ndarray, every: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """The frames `wanted` of instance `index`, uint8 (len(wanted), H, W, C); numbers ascend, `every` has all.

        Decodes and keeps `every` when that fits, else decodes `wanted` alone. Raises what `decode` raises for `wanted`.
        """
        if index not in self.kept and not self._keep(index, every, decode):
            return decode(wanted)
        numbers, frames = self.kept[index]
        return frames[np.searchsorted(numbers, wanted)]

    def _keep(self, index: int, every: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Whether the instance is kept now: it fits, and every frame of it decodes."""
        size_bytes = len(every) * self.frame_bytes
        if index in self.refused or len(every) > MAX_FRAMES or self.used_bytes + size_bytes > self._share_bytes():
            return False
        try:
            self.kept[index] = every, decode(every)
        except VideoError:  # the clip itself may lie before the damage
            self.refused.add(index)
            return False
        self.used_bytes += size_bytes
        return True

    def _share_bytes(self) -> int:
        """What this loader process may use."""
        worker = get_worker_info()
        return self.budget_mb * MB // (worker.num_workers if worker else 1)
