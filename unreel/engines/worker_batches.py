"""Jobs given in batches to workers on other machines, which come and go; the results in the order of the jobs.

The engine gives the batch of a lost worker to another. A batch that is lost again and again is taken apart, so that
a job which ends every worker is left out alone.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from unreel.io.limits import FailureKind, WorkerFailure

MAX_BATCH_JOBS = 16  # each batch starts a process that reads files, which takes as long as some videos
UNCOUNTED_BATCH_JOBS = 4  # where nobody knows how many jobs there are
BATCHES_AHEAD = 2  # given out for each worker, so that none waits, and one that is added finds work
MAX_WAITING_BATCHES = 64  # for each worker: so many are done before an earlier one that takes long
LOST = WorkerFailure(FailureKind.KILLED, "each worker that read it was lost; out of memory?")
J = TypeVar("J")
R = TypeVar("R")


class WorkerLostError(Exception):
    """The worker of a task ended, or its machine went away, more often than the engine tries again."""


class Engine(Protocol):
    """What lends workers. A task is whatever `submit` returns."""

    @property
    def num_workers(self) -> int:
        """How many tasks run at a time now."""

    @property
    def num_cores(self) -> int:
        """The processor cores of each worker."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """A task that calls a function in a worker; in another one if that is lost."""

    def wait(self, tasks: Collection[Any]) -> Collection[Any]:
        """Those of some tasks that have ended, at least one."""

    def get_result(self, task: Any) -> Any:
        """What the function of a task returned; raises what it raised, or WorkerLostError."""

    def cancel(self, tasks: Collection[Any]) -> None:
        """Nobody waits for these any more."""


def map_batches(
    engine: Engine,
    work: Callable[..., Sequence[R]],
    jobs: Iterable[J],
    arguments: tuple[Any, ...],
    num_jobs: int | None = None,
) -> Iterator[tuple[J, R | WorkerFailure]]:
    """(job, its result) in the order of the jobs; `work(batch, *arguments)` gives the results of some jobs.

    `num_jobs` is their number, where it is known. Raises what `work` raises.
    """
    queue = _BatchQueue[J, R](engine, work, arguments)
    remaining = iter(jobs)
    try:
        while True:
            while queue.has_room and (batch := list(islice(remaining, queue.choose_batch_size(num_jobs)))):
                queue.append(batch)
            if not queue.batches:
                return
            queue.collect()
            yield from queue.pop_finished()
    finally:
        engine.cancel(list(queue.tasks))


@dataclass(eq=False)
class _Batch(Generic[J, R]):
    jobs: Sequence[J]
    results: "Sequence[R | WorkerFailure] | None" = None


class _BatchQueue(Generic[J, R]):
    """Batches in the order of their jobs, and the tasks of those that are not finished."""

    def __init__(self, engine: Engine, work: Callable[..., Sequence[R]], arguments: tuple[Any, ...]) -> None:
        self.engine, self.work, self.arguments = engine, work, arguments
        self.batches: deque[_Batch[J, R]] = deque()
        self.tasks: dict[Any, _Batch[J, R]] = {}

    @property
    def has_room(self) -> bool:
        num_workers = max(1, self.engine.num_workers)
        return len(self.tasks) < num_workers * BATCHES_AHEAD and len(self.batches) < num_workers * MAX_WAITING_BATCHES

    def choose_batch_size(self, num_jobs: int | None) -> int:
        """Few jobs make small batches, so that every worker has some."""
        if num_jobs is None:
            return UNCOUNTED_BATCH_JOBS
        return max(1, min(MAX_BATCH_JOBS, num_jobs // (max(1, self.engine.num_workers) * BATCHES_AHEAD)))

    def append(self, jobs: Sequence[J]) -> None:
        batch = _Batch[J, R](jobs)
        self.batches.append(batch)
        self._submit(batch)

    def _submit(self, batch: _Batch[J, R]) -> None:
        self.tasks[self.engine.submit(self.work, batch.jobs, *self.arguments)] = batch

    def collect(self) -> None:
        """Wait until a task has ended, and take its results."""
        for task in self.engine.wait(list(self.tasks)):
            batch = self.tasks.pop(task)
            try:
                batch.results = self.engine.get_result(task)
            except WorkerLostError:
                self._take_apart(batch)

    def _take_apart(self, batch: _Batch[J, R]) -> None:
        """Give out each job of a lost batch alone; one that was alone is given up."""
        if len(batch.jobs) == 1:
            batch.results = [LOST]
            return
        place = self.batches.index(batch)
        del self.batches[place]
        for n, job in enumerate(batch.jobs):
            self.batches.insert(place + n, single := _Batch[J, R]([job]))
            self._submit(single)

    def pop_finished(self) -> Iterator[tuple[J, R | WorkerFailure]]:
        while self.batches and (results := self.batches[0].results) is not None:
            yield from zip(self.batches.popleft().jobs, results, strict=True)
