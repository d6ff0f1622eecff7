"""An engine whose workers are this process, and which loses some of them."""

import contextlib
import random
from collections.abc import Callable, Collection, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

from unreel.engines.worker_batches import WorkerLostError


class FakeEngine:
    """Tasks end in a random order. `is_lost` says by the function's arguments whether a task loses its worker."""

    num_cores = 1

    def __init__(self, is_lost: Callable[..., bool] = lambda *_: False, num_workers: int = 3) -> None:
        self.is_lost, self.num_workers = is_lost, num_workers
        self.chance = random.Random(0)
        self.tasks: dict[int, Any] = {}
        self.num_submitted = self.num_lost = self.most_at_once = 0

    def submit(self, work: Callable[..., Any], *arguments: Any) -> int:
        self.num_submitted += 1
        self.tasks[self.num_submitted] = ForkingPickler.dumps((work, arguments))  # it travels
        self.most_at_once = max(self.most_at_once, len(self.tasks))
        return self.num_submitted

    def wait(self, tasks: Collection[int]) -> Collection[int]:
        return [self.chance.choice(list(tasks))]

    def get_result(self, task: int) -> Any:
        work, arguments = ForkingPickler.loads(self.tasks.pop(task))
        if self.is_lost(*arguments):
            self.num_lost += 1
            raise WorkerLostError
        return ForkingPickler.loads(ForkingPickler.dumps(work(*arguments)))

    def cancel(self, tasks: Collection[int]) -> None:
        for task in tasks:
            del self.tasks[task]


current = FakeEngine()


@contextlib.contextmanager
def open_fake() -> Iterator[FakeEngine]:
    yield current
    assert not current.tasks, "no task is left behind"
