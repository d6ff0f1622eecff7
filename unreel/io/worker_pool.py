"""Many jobs in several worker processes, with the results in the order of the jobs.

Files of unknown origin are read here: a job that crashes its process (by an error in a decoder), exceeds its time or
its memory is answered with a WorkerFailure, and the other jobs go on.
"""

import contextlib
import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from unreel.io.limits import FailureKind, Limits, WorkerFailure, get_limits
from unreel.io.worker_process import WorkerProcess

MAX_JOBS_AHEAD = 64  # of the job that is waited for, for each process: a long job does not stop the others
J = TypeVar("J")
R = TypeVar("R")


def map_jobs(
    work: Callable[..., R],
    jobs: Iterable[J],
    arguments: tuple[Any, ...],
    num_workers: int,
    get_limits: Callable[[J], Limits],
) -> Iterator[tuple[J, R | WorkerFailure]]:
    """(job, `work(job, *arguments)`) in the order of the jobs, each within its limits, in `num_workers` processes.

    Raises what `work` raises. A job whose process was killed from outside is tried once more in a new process.
    """
    pool = _WorkerPool[J, R](work, arguments, num_workers)
    tasks = (_Task(n, job, get_limits(job)) for n, job in enumerate(jobs))
    results: dict[int, tuple[J, R | WorkerFailure]] = {}
    num_submitted = next_number = 0
    try:
        while True:
            num_free = min(pool.num_idle, next_number + num_workers * MAX_JOBS_AHEAD - num_submitted)
            for task in itertools.islice(tasks, num_free):
                pool.submit(task)
                num_submitted += 1
            if next_number == num_submitted:
                return
            results |= pool.collect_results(None if next_number not in results else 0.0)
            if next_number in results:
                next_number += 1
                yield results.pop(next_number - 1)
    finally:
        pool.close()


def run_isolated(work: Callable[..., R], *arguments: Any, limits: Limits | None = None) -> R | WorkerFailure:
    """`work(*arguments)` in a process of its own. Raises what `work` raises."""
    ((_, result),) = map_jobs(_call_work, [None], (work, *arguments), 1, lambda _: limits or get_limits())
    return result


def _call_work(_job: None, work: Callable[..., R], *arguments: Any) -> R:
    return work(*arguments)


@dataclass(eq=False)
class _Task(Generic[J]):
    number: int
    job: J
    limits: Limits
    is_retry: bool = False


class _WorkerPool(Generic[J, R]):
    """Up to `num_workers` processes, started when there is a task and replaced when they die."""

    def __init__(self, work: Callable[..., R], arguments: tuple[Any, ...], num_workers: int) -> None:
        self.work, self.arguments, self.num_workers = work, arguments, num_workers
        self.start_method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        self.tasks: dict[WorkerProcess, _Task[J] | None] = {}

    @property
    def num_idle(self) -> int:
        return self.num_workers - sum(task is not None for task in self.tasks.values())

    def submit(self, task: _Task[J]) -> None:
        worker = next((worker for worker, current in self.tasks.items() if current is None), None)
        if worker is not None and not worker.is_alive:
            self._remove(worker)
            worker = None
        if worker is None:
            worker = WorkerProcess(self.start_method, self.work, self.arguments)
        self.tasks[worker] = task
        worker.send(task.job, task.limits)

    def collect_results(self, timeout_s: float | None) -> dict[int, tuple[J, R | WorkerFailure]]:
        """The results that have arrived, by the number of their task; waits up to `timeout_s` for the first."""
        busy = [(worker, task) for worker, task in self.tasks.items() if task is not None]
        handles = {handle: worker for worker, _ in busy for handle in (worker.pipe, worker.process.sentinel)}
        ready = {handles[handle] for handle in wait(list(handles), timeout_s)}
        results = {}
        for worker, task in busy:
            if worker in ready:
                for result in self._receive(worker, task):
                    results[task.number] = task.job, result
        return results

    def _receive(self, worker: WorkerProcess, task: _Task[J]) -> "list[R | WorkerFailure]":
        """The result of a task, which may be None; empty when the task was given to another process."""
        self.tasks[worker] = None
        result = worker.receive()
        if worker.is_closed:
            self._remove(worker)
        if not isinstance(result, WorkerFailure) or result.kind is not FailureKind.KILLED:
            return [result]
        if not task.is_retry:
            self.submit(replace(task, is_retry=True))
            return []
        return [replace(result, detail=f"reading it ended the process twice ({result.detail}; out of memory?)")]

    def _remove(self, worker: WorkerProcess) -> None:
        del self.tasks[worker]
        worker.close()

    def close(self) -> None:
        """End all processes, busy ones too."""
        for worker in list(self.tasks):
            with contextlib.suppress(KeyError):
                self._remove(worker)
