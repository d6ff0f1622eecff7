"""Many jobs in several processes, results in the order of the jobs; nothing of it outlives the process that asked."""

import itertools
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from unreel.errors import UnreelError

AHEAD = 8  # jobs under way for each process, so that a long one holds nobody up
WATCH_S = 0.5
J = TypeVar("J")
R = TypeVar("R")


def each_done(
    work: Callable[..., R], jobs: Iterable[J], arguments: tuple[Any, ...], workers: int
) -> Iterator[tuple[J, R]]:
    """(job, `work(job, *arguments)`) in the order of the jobs; with one worker in this process.

    Raises what `work` raises.
    """
    if workers == 1:
        yield from ((job, work(job, *arguments)) for job in jobs)
        return
    how = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(how)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(os.getpid(),))
    waiting, jobs = deque[tuple[J, "Future[R]"]](), iter(jobs)
    try:
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: ours hold no locks
                room = workers * AHEAD - len(waiting)
                waiting.extend((job, pool.submit(work, job, *arguments)) for job in itertools.islice(jobs, room))
            if not waiting:
                return
            job, future = waiting.popleft()
            yield job, future.result()
    except BrokenProcessPool as error:
        raise UnreelError(
            "a process that was coding videos was killed (out of memory?); run it again to go on"
        ) from error
    finally:
        if waiting:  # stopped on the way: what is under way is done again anyway
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    """Ctrl-C is the parent's to handle; and when the parent is killed, so is this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
