"""A cache of decoded frames in memory, so that short videos are decoded only in the first epoch.

All loader processes share one cache: anonymous memory, mapped before they are forked. It has no name, so nothing is
left behind when they end, it is not limited by /dev/shm, and unused pages take no memory. The first process that needs
an instance decodes it and publishes it when it is complete. Nothing is evicted: an epoch visits every instance once, so
each would be evicted before its next use.

Where processes are not forked (macOS, Windows), each has a cache of its own, an equal share of the budget.
"""

import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from unreel.errors import VideoError
from unreel.video.loading.shared_memory import make_locks

MAX_FRAMES = 300  # to decode more than this for one clip costs more than it saves
LOCK_TIMEOUT_S = 5.0  # a lock held longer belongs to a killed process: go on without the cache
MB = 2**20
EMPTY, PENDING, UNCACHEABLE = -1, -2, -3  # instead of an offset: not decoded yet; being decoded; can't be cached


class FrameCache:
    """Whole instances, uint8 frames of `size` (H, W), as many as fit into `budget_mb` for all loader processes."""

    def __init__(self, budget_mb: int, size: tuple[int, int], num_instances: int, per_process: bool = False) -> None:
        self.budget_mb, self.size, self.num_instances, self.per_process = budget_mb, size, num_instances, per_process
        self.disabled = False
        (self.lock,) = make_locks(1)
        rows = num_instances if budget_mb else 0
        self.num_frames_N, self.offset_N, self.used_1 = (allocate_shared(np.int64, n) for n in (rows, rows, 1))
        self.offset_N[:] = EMPTY
        self.buffer = np.empty(0, np.uint8)
        if budget_mb and not per_process:
            self._allocate(budget_mb * MB)

    def __getstate__(self) -> dict[str, Any]:
        """For a process that is not forked: the settings, without the cached frames."""
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
        """The instances that are completely in the cache."""
        return set(np.flatnonzero(self.offset_N >= 0).tolist())

    def is_cached(self, index: int) -> bool:
        """Whether an instance is completely in the cache."""
        return bool(self.budget_mb) and int(self.offset_N[index]) >= 0

    def get_frames(
        self, index: int, frame_numbers: np.ndarray, all_numbers: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Frames of an instance, uint8 (len(frame_numbers), H, W, C); `frame_numbers`, ascending, are in `all_numbers`.

        Decodes and caches `all_numbers` when they fit, else decodes `frame_numbers` only. Raises what `decode` raises
        for `frame_numbers`.
        """
        offset = self._find_or_fill(index, all_numbers, decode)
        if offset < 0 or self.num_frames_N[index] != len(all_numbers):  # not cached, or the file has changed
            return decode(frame_numbers)
        return self._view_frames(offset, len(all_numbers))[np.searchsorted(all_numbers, frame_numbers)]

    def _view_frames(self, offset: int, count: int) -> np.ndarray:
        """The frames at an offset of the buffer, uint8 (count, H, W, 3), not copied."""
        return self.buffer[offset : offset + count * self.frame_bytes].reshape(count, *self.size, 3)

    def _find_or_fill(self, index: int, all_numbers: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]) -> int:
        """The offset of an instance, which is decoded now if it is the first time; negative when it is not cached."""
        if len(all_numbers) > MAX_FRAMES:
            return UNCACHEABLE
        if self.per_process and not len(self.buffer):
            worker = get_worker_info()
            self._allocate(self.budget_mb * MB // (worker.num_workers if worker else 1))
        state, free_offset = self._reserve(index, len(all_numbers) * self.frame_bytes)
        if state != EMPTY:
            return state
        offset = UNCACHEABLE  # unless every frame decodes; a clip may lie before the damage
        try:
            self._view_frames(free_offset, len(all_numbers))[:] = decode(all_numbers)
            offset = free_offset
        except VideoError:
            pass
        finally:
            self._publish(index, offset, len(all_numbers))
        return offset

    def _reserve(self, index: int, size_bytes: int) -> tuple[int, int]:
        """The offset or state of an instance; EMPTY, with a free offset, when the caller has to decode it."""
        if self.disabled or not self.lock.acquire(timeout=LOCK_TIMEOUT_S):
            self.disabled = True
            return UNCACHEABLE, 0
        try:
            state, free_offset = int(self.offset_N[index]), self.used_bytes
            if state != EMPTY:
                return state, 0
            fits = free_offset + size_bytes <= len(self.buffer)
            self.offset_N[index] = PENDING if fits else UNCACHEABLE
            self.used_1[0] += size_bytes if fits else 0
            return (EMPTY if fits else UNCACHEABLE), free_offset
        finally:
            self.lock.release()

    def _publish(self, index: int, offset: int, count: int) -> None:
        """Set the offset or state of an instance; under the lock, so that other processes see its frames first."""
        if self.lock.acquire(timeout=LOCK_TIMEOUT_S):
            self.offset_N[index], self.num_frames_N[index] = offset, count
            self.lock.release()

    def _allocate(self, size_bytes: int) -> None:
        """Map the memory; when there is not enough, nothing is cached."""
        try:
            self.buffer = allocate_shared(np.uint8, size_bytes)
        except (OSError, OverflowError, ValueError):
            self.buffer = np.empty(0, np.uint8)


def allocate_shared(dtype: Any, count: int) -> np.ndarray:
    """An array of zeros shared by forked processes; it is freed when the last of them ends."""
    return np.frombuffer(mmap.mmap(-1, max(1, count) * np.dtype(dtype).itemsize), dtype, count)
