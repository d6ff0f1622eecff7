"""`map_jobs` of io/worker_pool.py on this machine, or by the workers of an engine, with the same limits."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from unreel.engines.engine_choice import get_engine
from unreel.engines.worker_batches import map_batches
from unreel.errors import InputError
from unreel.io import worker_pool
from unreel.io.limits import Limits, WorkerFailure

J = TypeVar("J")
R = TypeVar("R")


def map_jobs(
    work: Callable[..., R],
    jobs: Iterable[J],
    arguments: tuple[Any, ...],
    num_workers: int,
    get_limits: Callable[[J], Limits],
) -> Iterator[tuple[J, R | WorkerFailure]]:
    """(job, `work(job, *arguments)`) in the order of the jobs, each within its limits; on this machine in `num_workers`
    processes. Raises what `work` raises.
    """
    engine = get_engine()
    if engine is None:
        yield from worker_pool.map_jobs(work, jobs, arguments, num_workers, get_limits)
        return
    count = len(jobs) if isinstance(jobs, Sequence) else None
    tasks: Any = ((job, get_limits(job)) for job in jobs)
    for (job, _), result in map_batches(engine, run_jobs, tasks, (work, arguments, engine.num_cores), count):
        yield job, result


def run_jobs(
    tasks: Sequence[tuple[J, Limits]], work: Callable[..., R], arguments: tuple[Any, ...], num_processes: int
) -> list[R | WorkerFailure]:
    """What a worker does: some jobs in processes of its own, each within its limits."""
    results = worker_pool.map_jobs(_call_work, tasks, (work, arguments), num_processes, lambda task: task[1])
    return [result for _, result in results]


def _call_work(task: tuple[J, Limits], work: Callable[..., R], arguments: tuple[Any, ...]) -> R:
    return work(task[0], *arguments)


def require_seen_by_workers(path: str) -> None:
    """For a file that a worker did not find: raise InputError where it is on this machine."""
    if os.path.exists(path):
        raise InputError(
            f"{path}: a worker of the engine does not see this file",
            "put videos, runs and outputs on a disk that all machines have at the same path",
        )
