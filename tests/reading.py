"""Videos are read in this process, not in processes of their own: a fork of one with torch costs as much time as
decoding ten small videos, and a short run has four."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, TypeVar

import pytest
from torch.utils.data import DataLoader

from unreel.io import worker_pool
from unreel.video.loading import loaders

WORKER_POOL = worker_pool._WorkerPool
J = TypeVar("J")
R = TypeVar("R")


class PoolHere(Generic[J, R]):
    """The face of a pool of processes; without limits, and a crash is one of the tests."""

    def __init__(self, work: Callable[..., R], arguments: tuple[Any, ...], num_workers: int) -> None:
        self.work, self.arguments, self.num_workers = work, arguments, num_workers
        self.results: dict[int, tuple[J, R]] = {}

    @property
    def num_idle(self) -> int:
        return self.num_workers - len(self.results)

    def submit(self, task: Any) -> None:
        self.results[task.number] = task.job, self.work(task.job, *self.arguments)

    def collect_results(self, timeout_s: float | None) -> dict[int, tuple[J, R]]:
        results, self.results = self.results, {}
        return results

    def close(self) -> None:
        pass


def load_here(dataset: Any, **options: Any) -> "DataLoader[Any]":
    """A loader of single samples in this process; one of batches has the processes that it is told to have."""
    if "sampler" in options:
        options |= {"num_workers": 0, "timeout": 0, "prefetch_factor": None}
    return DataLoader(dataset, **options)


@contextmanager
def _read_with(pool: Any, loader: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_pool, "_WorkerPool", pool)
        patch.setattr(loaders, "DataLoader", loader)
        yield


def read_here() -> AbstractContextManager[None]:
    return _read_with(PoolHere, load_here)


def read_in_processes() -> AbstractContextManager[None]:
    """As users do, within `read_here`."""
    return _read_with(WORKER_POOL, DataLoader)
