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

AHEAD = 64  # jobs that may be ahead of the one that is waited for, for each process: a long one holds nobody up
WATCH_S = 0.5
S_PER_MB = 2
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
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

    def reading(self, path: str | Path) -> "Limits":
        """These, with the seconds that the file's size adds."""
        with contextlib.suppress(OSError, ValueError):
            return replace(self, file_limit_s=self.file_limit_s + S_PER_MB * (os.stat(path).st_size // 10**6))
        return self  # nothing there, or a piece of a packed corpus, which is small

    @property
    def out_of_memory(self) -> str:
        return f"reading it takes more than {self.file_memory_mb} MB of memory"


@dataclass(frozen=True)
class Ended:
    """The answer to a job that ended its process, or wanted too much; `why` in words for a person."""

    why: str


def how_it_ended(code: int | None, limits: Limits) -> str | None:
    """What a file did to the process that read it, by its exit code; None where that may be nobody's fault."""
    if code == -signal.SIGALRM:
        return f"reading it did not end within {limits.file_limit_s:g} s"
    if code is not None and -code in CRASHES:
        return f"reading it ended the process ({signal.Signals(-code).name})"
    return None


@contextlib.contextmanager
def bounded(limits: Limits) -> Iterator[None]:
    """Meanwhile the system ends this process when its time is over, and refuses it more memory than it may take.

    The time holds for a decoder that never returns, too, and after the parent's death. Not for a main process.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    signal.setitimer(signal.ITIMER_REAL, limits.file_limit_s)
    try:
        if (data_bytes := _data_bytes()) is not None:
            most = data_bytes + limits.file_memory_mb * 2**20
            hard = before[1]
            soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _data_bytes() -> int | None:
    """Private memory of this process as RLIMIT_DATA counts it; None where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None


def each_done(
    work: Callable[..., R],
    jobs: Iterable[J],
    arguments: tuple[Any, ...],
    workers: int,
    limits_of: Callable[[J], Limits],
) -> Iterator[tuple[J, R | Ended]]:
    """(job, `work(job, *arguments)`) in the order of the jobs, each within its limits in one of `workers` processes.

    Raises what `work` raises. A process that was ended from outside is replaced and its job tried once more.
    """
    crew = _Crew[J, R](work, arguments, workers)
    tasks = (_Task(n, job, limits_of(job)) for n, job in enumerate(jobs))
    arrived: dict[int, tuple[J, R | Ended]] = {}
    given = due = 0
    try:
        while True:
            room = min(crew.free, due + workers * AHEAD - given)
            for task in itertools.islice(tasks, room):
                crew.give(task)
                given += 1
            if due == given:
                return
            arrived |= crew.answers(None if due not in arrived else 0.0)
            if due in arrived:
                due += 1
                yield arrived.pop(due - 1)
    finally:
        crew.close()


def alone(work: Callable[..., R], *arguments: Any, limits: Limits | None = None) -> R | Ended:
    """`work(*arguments)` in a process of its own. Raises what `work` raises."""
    ((_, answer),) = each_done(_applied, [None], (work, *arguments), 1, lambda _: limits or Limits())
    return answer


def _applied(_job: None, work: Callable[..., R], *arguments: Any) -> R:
    return work(*arguments)


@dataclass(eq=False)
class _Task(Generic[J]):
    number: int
    job: J
    limits: Limits
    tries: int = 1


@dataclass(eq=False)
class _Child(Generic[J]):
    """A process that takes one task at a time, and the parent's end of the line to it."""

    process: Any
    line: Connection
    task: _Task[J] | None = None

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.line.close()


class _Crew(Generic[J, R]):
    """Up to `workers` processes, begun when there is something to do and replaced when they die."""

    def __init__(self, work: Callable[..., R], arguments: tuple[Any, ...], workers: int) -> None:
        self.work, self.arguments, self.workers = work, arguments, workers
        how = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        self.context: Any = multiprocessing.get_context(how)
        self.children: list[_Child[J]] = []

    @property
    def free(self) -> int:
        return self.workers - sum(child.task is not None for child in self.children)

    def give(self, task: _Task[J]) -> None:
        child = next((c for c in self.children if c.task is None), None)
        if child is not None and not child.process.is_alive():
            self._drop(child)
            child = None
        child = child or self._begun()
        child.task = task
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # died just now: found by `answers`
            child.line.send((task.job, task.limits))

    def answers(self, timeout_s: float | None) -> dict[int, tuple[J, R | Ended]]:
        """What has arrived, by the number of its task; waits for the first so long."""
        busy = [child for child in self.children if child.task is not None]
        ends = [end for child in busy for end in (child.line, child.process.sentinel)]
        ready, found = set(wait(ends, timeout_s)), {}
        for child in busy:
            task = child.task
            assert task is not None
            if not ready & {child.line, child.process.sentinel}:
                continue
            for answer in self._heard(child):
                found[task.number] = task.job, answer
        return found

    def _heard(self, child: _Child[J]) -> "list[R | Ended]":
        """The answer of a process, which may be None, or how it died; empty when its task was given to another one."""
        task = child.task
        assert task is not None
        try:
            answer, error = child.line.recv()
        except (EOFError, OSError):
            return self._died(child, task)
        child.task = None
        if error is not None:
            raise error
        return [answer]

    def _died(self, child: _Child[J], task: _Task[J]) -> "list[R | Ended]":
        child.process.join(WATCH_S)
        code = child.process.exitcode
        self._drop(child)
        if why := how_it_ended(code, task.limits):
            return [Ended(why)]
        if task.tries == 1:
            self.give(replace(task, tries=2))
            return []
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        return [Ended(f"reading it ended the process twice ({how}; out of memory?)")]

    def _begun(self) -> _Child[J]:
        line, theirs = self.context.Pipe()
        arguments = (theirs, self.work, self.arguments, os.getpid())
        process = self.context.Process(target=_serve, args=arguments, daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: ours hold no locks
            process.start()
        theirs.close()
        self.children.append(_Child(process, line))
        return self.children[-1]

    def _drop(self, child: _Child[J]) -> None:
        self.children.remove(child)
        child.close()

    def close(self) -> None:
        """End all processes; what is under way is done again if anybody wants it."""
        while self.children:
            self._drop(self.children[0])


def _serve(line: Connection, work: Callable[..., Any], arguments: tuple[Any, ...], parent: int) -> None:
    """What a process does: one task after another."""
    _begin(parent)
    while True:
        job, limits = line.recv()
        answer, failed = None, None
        try:
            with bounded(limits):
                answer = work(job, *arguments)
        except MemoryError:
            answer = Ended(limits.out_of_memory)
        except Exception as error:
            error.add_note(traceback.format_exc())
            failed = error
        line.send((answer, failed))


def _begin(parent: int) -> None:
    """Ctrl-C is the parent's to handle; when the parent is killed, so is this process; a crash leaves no core file."""
    gc.freeze()  # else collecting writes to all that the fork shares with the parent, and copies it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's, which raises
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if "torch" in sys.modules:  # its threads do not survive a fork, and who wants them would wait for them forever
        sys.modules["torch"].set_num_threads(1)
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process when the one that started it has ended, however that was."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
