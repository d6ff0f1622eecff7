"""Decoded frames that stay in memory, so that short videos are decoded in the first epoch alone.

All loader processes share one cache: a stretch of anonymous memory, mapped before they are forked. It has no name, so
nothing is left behind however they end, it is not bounded by /dev/shm, and pages that nobody wrote take no memory.
Whoever comes first decodes an instance; it is published when all of it is there. Nothing is thrown out for something
newer: an epoch visits every instance once, and would throw each out before its return.

Where processes are not forked (macOS, Windows) each keeps its own, out of an equal share.
"""

import mmap
import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from unreel.errors import VideoError

MAX_FRAMES = 300  # decoding more than this for the sake of one clip costs more than it saves
LOCK_TIMEOUT_S = 5.0  # a lock held for longer belongs to a process that was killed: go on without the cache
MB = 2**20
EMPTY, PENDING, UNCACHEABLE = -1, -2, -3  # instead of a place: nobody came yet; somebody decodes; it can't be kept


class FrameCache:
    """Whole instances, uint8 frames of `size` (H, W), as many as fit into `budget_mb` of all loader processes."""

    def __init__(self, budget_mb: int, size: tuple[int, int], num_instances: int, per_process: bool = False) -> None:
        self.budget_mb, self.size, self.num_instances, self.per_process = budget_mb, size, num_instances, per_process
        self.lock, self.disabled = multiprocessing.Lock(), False
        rows = num_instances if budget_mb else 0
        self.num_frames_N, self.offset_N, self.used_1 = (allocate_shared(np.int64, n) for n in (rows, rows, 1))
        self.offset_N[:] = EMPTY
        self.buffer = np.empty(0, np.uint8)
        if budget_mb and not per_process:
            self._allocate(budget_mb * MB)

    def __getstate__(self) -> dict[str, Any]:
        """What a process that is not forked gets: the budget, and nothing of what is kept."""
        settings = {"budget_mb": self.budget_mb, "size": self.size, "num_instances": self.num_instances}
        return settings | {"per_process": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def frame_bytes(self) -> int:
        return self.size[0] * self.size[1] * 3

    @property
    def used_bytes(self) -> int:
        return int(self.used_1[0])

    @property
    def cached_instances(self) -> set[int]:
        """The instances that are there, whole."""
        return set(np.flatnonzero(self.offset_N >= 0).tolist())

    def is_cached(self, index: int) -> bool:
        """Whether all of an instance is there."""
        return bool(self.budget_mb) and int(self.offset_N[index]) >= 0

    def get_frames(
        self, index: int, frame_numbers: np.ndarray, all_numbers: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """The frames `wanted` of instance `index`, uint8 (len(wanted), H, W, C); numbers ascend, `every` has all.

        Decodes and keeps `every` when that fits, else decodes `wanted` alone. Raises what `decode` raises for `wanted`.
        """
        place = self._find_or_fill(index, all_numbers, decode)
        if place < 0 or self.num_frames_N[index] != len(all_numbers):  # the file has changed since
            return decode(frame_numbers)
        return self._view_frames(place, len(all_numbers))[np.searchsorted(all_numbers, frame_numbers)]

    def _view_frames(self, offset: int, count: int) -> np.ndarray:
        return self.buffer[offset : offset + count * self.frame_bytes].reshape(count, *self.size, 3)

    def _find_or_fill(self, index: int, all_numbers: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]) -> int:
        """Where the instance is kept; filled now when nobody came before, negative when it is not to be had."""
        if len(all_numbers) > MAX_FRAMES:
            return UNCACHEABLE
        if self.per_process and not len(self.buffer):
            worker = get_worker_info()
            self._allocate(self.budget_mb * MB // (worker.num_workers if worker else 1))
        found, room = self._reserve(index, len(all_numbers) * self.frame_bytes)
        if found != EMPTY:
            return found
        place = UNCACHEABLE  # unless every frame decodes; the clip itself may lie before the damage
        try:
            self._view_frames(room, len(all_numbers))[:] = decode(all_numbers)
            place = room
        except VideoError:
            pass
        finally:
            self._publish(index, place, len(all_numbers))
        return place

    def _reserve(self, index: int, size_bytes: int) -> tuple[int, int]:
        """The instance's place or state; UNKNOWN with room for it when it is the caller's to fill."""
        if self.disabled or not self.lock.acquire(timeout=LOCK_TIMEOUT_S):
            self.disabled = True
            return UNCACHEABLE, 0
        try:
            found, room = int(self.offset_N[index]), self.used_bytes
            if found != EMPTY:
                return found, 0
            fits = room + size_bytes <= len(self.buffer)
            self.offset_N[index] = PENDING if fits else UNCACHEABLE
            self.used_1[0] += size_bytes if fits else 0
            return (EMPTY if fits else UNCACHEABLE), room
        finally:
            self.lock.release()

    def _publish(self, index: int, offset: int, count: int) -> None:
        """Say that an instance is there, or why not; under the lock, so that all of it is seen before its place."""
        if self.lock.acquire(timeout=LOCK_TIMEOUT_S):
            self.offset_N[index], self.num_frames_N[index] = offset, count
            self.lock.release()

    def _allocate(self, size_bytes: int) -> None:
        """Reserve the memory; without enough of it nothing is kept."""
        try:
            self.buffer = allocate_shared(np.uint8, size_bytes)
        except (OSError, OverflowError, ValueError):
            self.buffer = np.empty(0, np.uint8)


def allocate_shared(dtype: Any, count: int) -> np.ndarray:
    """An array of zeros that forked processes share; its memory goes when the last of them ends."""
    return np.frombuffer(mmap.mmap(-1, max(1, count) * np.dtype(dtype).itemsize), dtype, count)
