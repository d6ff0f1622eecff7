"""Many jobs in guarded processes, answers in the order of the jobs; nothing of it outlives the process that asked.

What reads files of strangers runs here: a job that crashes its process (a decoder's fault), does not end in its time or
wants too much memory is answered with how it ended, and the others go on. Processes are forked where that can be, so
that they begin within milliseconds and import nothing anew.
"""

import contextlib
import gc
import itertools
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from unreel.errors import InputError

MAX_JOBS_AHEAD = (
    64  # jobs that may be ahead of the one that is waited for, for each process: a long one holds nobody up
)
POLL_S = 0.5
EXTRA_S_PER_MB = 2
CRASH_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Limits:
    """What reading one file may take."""

    file_limit_s: float = 300.0
    """Seconds that a process may be at one file, and 2 more for each megabyte of it; then the file is left out."""
    file_memory_mb: int = 4096
    """Megabytes that reading one file may take (Linux); one that wants more is left out."""

    def __post_init__(self) -> None:
        for name in ("file_limit_s", "file_memory_mb"):
            if not 0 < getattr(self, name) < 1e9:
                option = name.replace("_", "-")
                raise InputError(f"--{option} must lie above 0 and below 1e9, got {getattr(self, name):g}")

    def scale_to_file(self, path: str | Path) -> "Limits":
        """These, with the seconds that the file's size adds."""
        with contextlib.suppress(OSError, ValueError):
            return replace(self, file_limit_s=self.file_limit_s + EXTRA_S_PER_MB * (os.stat(path).st_size // 10**6))
        return self  # nothing there, or a piece of a packed corpus, which is small

    @property
    def memory_error_text(self) -> str:
        return f"reading it takes more than {self.file_memory_mb} MB of memory"


@dataclass(frozen=True)
class WorkerFailure:
    """The answer to a job that ended its process, or wanted too much; `why` in words for a person."""

    reason: str


def describe_exit(exit_code: int | None, limits: Limits) -> str | None:
    """What a file did to the process that read it, by its exit code; None where that may be nobody's fault."""
    if exit_code == -signal.SIGALRM:
        return f"reading it did not end within {limits.file_limit_s:g} s"
    if exit_code is not None and -exit_code in CRASH_SIGNALS:
        return f"reading it ended the process ({signal.Signals(-exit_code).name})"
    return None


@contextlib.contextmanager
def enforce_limits(limits: Limits) -> Iterator[None]:
    """Meanwhile the system ends this process when its time is over, and refuses it more memory than it may take.

    The time holds for a decoder that never returns, too, and after the parent's death. Not for a main process.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    signal.setitimer(signal.ITIMER_REAL, limits.file_limit_s)
    try:
        if (data_bytes := _read_data_bytes()) is not None:
            most = data_bytes + limits.file_memory_mb * 2**20
            hard = before[1]
            soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _read_data_bytes() -> int | None:
    """Private memory of this process as RLIMIT_DATA counts it; None where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None


def map_jobs(
    work: Callable[..., R],
    jobs: Iterable[J],
    arguments: tuple[Any, ...],
    num_workers: int,
    get_limits: Callable[[J], Limits],
) -> Iterator[tuple[J, R | WorkerFailure]]:
    """(job, `work(job, *arguments)`) in the order of the jobs, each within its limits in one of `workers` processes.

    Raises what `work` raises. A process that was ended from outside is replaced and its job tried once more.
    """
    crew = _WorkerPool[J, R](work, arguments, num_workers)
    tasks = (_Task(n, job, get_limits(job)) for n, job in enumerate(jobs))
    arrived: dict[int, tuple[J, R | WorkerFailure]] = {}
    given = due = 0
    try:
        while True:
            room = min(crew.num_idle, due + num_workers * MAX_JOBS_AHEAD - given)
            for task in itertools.islice(tasks, room):
                crew.submit(task)
                given += 1
            if due == given:
                return
            arrived |= crew.collect_results(None if due not in arrived else 0.0)
            if due in arrived:
                due += 1
                yield arrived.pop(due - 1)
    finally:
        crew.close()


def run_isolated(work: Callable[..., R], *arguments: Any, limits: Limits | None = None) -> R | WorkerFailure:
    """`work(*arguments)` in a process of its own. Raises what `work` raises."""
    ((_, answer),) = map_jobs(_call_work, [None], (work, *arguments), 1, lambda _: limits or Limits())
    return answer


def _call_work(_job: None, work: Callable[..., R], *arguments: Any) -> R:
    return work(*arguments)


@dataclass(eq=False)
class _Task(Generic[J]):
    number: int
    job: J
    limits: Limits
    attempt: int = 1


@dataclass(eq=False)
class _Worker(Generic[J]):
    """A process that takes one task at a time, and the parent's end of the line to it."""

    process: Any
    pipe: Connection
    task: _Task[J] | None = None

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


class _WorkerPool(Generic[J, R]):
    """Up to `workers` processes, begun when there is something to do and replaced when they die."""

    def __init__(self, work: Callable[..., R], arguments: tuple[Any, ...], num_workers: int) -> None:
        self.work, self.arguments, self.num_workers = work, arguments, num_workers
        how = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        self.context: Any = multiprocessing.get_context(how)
        self.workers: list[_Worker[J]] = []

    @property
    def num_idle(self) -> int:
        return self.num_workers - sum(child.task is not None for child in self.workers)

    def submit(self, task: _Task[J]) -> None:
        child = next((c for c in self.workers if c.task is None), None)
        if child is not None and not child.process.is_alive():
            self._remove_worker(child)
            child = None
        child = child or self._start_worker()
        child.task = task
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # died just now: found by `answers`
            child.pipe.send((task.job, task.limits))

    def collect_results(self, timeout_s: float | None) -> dict[int, tuple[J, R | WorkerFailure]]:
        """What has arrived, by the number of its task; waits for the first so long."""
        busy = [child for child in self.workers if child.task is not None]
        ends = [end for child in busy for end in (child.pipe, child.process.sentinel)]
        ready, found = set(wait(ends, timeout_s)), {}
        for child in busy:
            task = child.task
            assert task is not None
            if not ready & {child.pipe, child.process.sentinel}:
                continue
            for answer in self._receive_result(child):
                found[task.number] = task.job, answer
        return found

    def _receive_result(self, worker: _Worker[J]) -> "list[R | WorkerFailure]":
        """The answer of a process, which may be None, or how it died; empty when its task was given to another one."""
        task = worker.task
        assert task is not None
        try:
            answer, error = worker.pipe.recv()
        except (EOFError, OSError):
            return self._handle_death(worker, task)
        worker.task = None
        if error is not None:
            raise error
        return [answer]

    def _handle_death(self, worker: _Worker[J], task: _Task[J]) -> "list[R | WorkerFailure]":
        worker.process.join(POLL_S)
        code = worker.process.exitcode
        self._remove_worker(worker)
        if why := describe_exit(code, task.limits):
            return [WorkerFailure(why)]
        if task.attempt == 1:
            self.submit(replace(task, attempt=2))
            return []
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        return [WorkerFailure(f"reading it ended the process twice ({how}; out of memory?)")]

    def _start_worker(self) -> _Worker[J]:
        line, theirs = self.context.Pipe()
        arguments = (theirs, self.work, self.arguments, os.getpid())
        process = self.context.Process(target=_run_worker, args=arguments, daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: ours hold no locks
            process.start()
        theirs.close()
        self.workers.append(_Worker(process, line))
        return self.workers[-1]

    def _remove_worker(self, worker: _Worker[J]) -> None:
        self.workers.remove(worker)
        worker.close()

    def close(self) -> None:
        """End all processes; what is under way is done again if anybody wants it."""
        while self.workers:
            self._remove_worker(self.workers[0])


def _run_worker(pipe: Connection, work: Callable[..., Any], arguments: tuple[Any, ...], parent_pid: int) -> None:
    """What a process does: one task after another."""
    _initialize_worker(parent_pid)
    while True:
        job, limits = pipe.recv()
        answer, failed = None, None
        try:
            with enforce_limits(limits):
                answer = work(job, *arguments)
        except MemoryError:
            answer = WorkerFailure(limits.memory_error_text)
        except Exception as error:
            error.add_note(traceback.format_exc())
            failed = error
        pipe.send((answer, failed))


def _initialize_worker(parent_pid: int) -> None:
    """Ctrl-C is the parent's to handle; when the parent is killed, so is this process; a crash leaves no core file."""
    gc.freeze()  # else collecting writes to all that the fork shares with the parent, and copies it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's, which raises
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if "torch" in sys.modules:  # its threads do not survive a fork, and who wants them would wait for them forever
        sys.modules["torch"].set_num_threads(1)
    exit_with_parent(parent_pid)


def exit_with_parent(parent_pid: int) -> None:
    """End this process when the one that started it has ended, however that was."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
