"""Limits of time and memory for a process that reads one file, and what became of a process that exceeded them."""

import contextlib
import contextvars
import enum
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from unreel.errors import InputError

EXTRA_S_PER_MB = 2
CRASH_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


class FailureKind(enum.Enum):
    """Why a job has no result."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"
    KILLED = "killed"
    """Ended from outside, by a person or by a system that is out of memory."""


@dataclass(frozen=True)
class WorkerFailure:
    """The answer to a job that ended its process or wanted too much memory; `detail` is a sentence for a person."""

    kind: FailureKind
    detail: str

    @property
    def exceeded_limits(self) -> bool:
        """Whether it took too much time or memory, which may differ at another try."""
        return self.kind in (FailureKind.TIMEOUT, FailureKind.MEMORY)


@dataclass(frozen=True)
class Limits:
    """What reading one file may take.

    Raises:
        InputError: a limit is not positive.

    Example:
        >>> import unreel
        >>> unreel.Limits(file_limit_s=60).file_memory_mb
        4096
    """

    file_limit_s: float = 300.0
    """Seconds that a process may spend on one file, and 2 more for each megabyte of it; then the file is left out."""
    file_memory_mb: int = 4096
    """Megabytes of memory that reading one file may take (Linux); a file that needs more is left out."""

    def __post_init__(self) -> None:
        for name in ("file_limit_s", "file_memory_mb"):
            if not 0 < getattr(self, name) < 1e9:
                option = name.replace("_", "-")
                raise InputError(f"--{option} must lie above 0 and below 1e9, got {getattr(self, name):g}")

    def scale_to_file(self, path: str | Path) -> "Limits":
        """These limits with the seconds that the file's size adds."""
        with contextlib.suppress(OSError, ValueError):
            return replace(self, file_limit_s=self.file_limit_s + EXTRA_S_PER_MB * (os.stat(path).st_size // 10**6))
        return self  # the file is missing, or is a piece of a packed corpus, which is small

    def build_memory_failure(self) -> WorkerFailure:
        return WorkerFailure(FailureKind.MEMORY, f"reading it takes more than {self.file_memory_mb} MB of memory")

    def build_exit_failure(self, exit_code: int | None) -> WorkerFailure:
        """Why a process ended before it answered, by its exit code."""
        if exit_code == -signal.SIGALRM:
            return WorkerFailure(FailureKind.TIMEOUT, f"reading it did not end within {self.file_limit_s:g} s")
        if exit_code is None or exit_code >= 0:
            return WorkerFailure(FailureKind.KILLED, f"exit code {exit_code}")
        name = signal.Signals(-exit_code).name
        if -exit_code in CRASH_SIGNALS:
            return WorkerFailure(FailureKind.CRASH, f"reading it ended the process ({name})")
        return WorkerFailure(FailureKind.KILLED, name)


_current_limits: contextvars.ContextVar[Limits | None] = contextvars.ContextVar("limits", default=None)


@contextlib.contextmanager
def use_limits(limits: Limits) -> Iterator[None]:
    """Inside the block `limits` hold for every file that is read in a worker process and has no limits of its own.

        with use_limits(Limits(file_limit_s=20.0)):
            unreel.embed("runs/iic", "videos", "vectors.parquet")

    Files are read deep inside everything, so this is a setting of its surroundings, as numpy.errstate is.
    """
    token = _current_limits.set(limits)
    try:
        yield
    finally:
        _current_limits.reset(token)


def get_limits(path: str | Path | None = None) -> Limits:
    """The limits of the surrounding `use_limits`, else the defaults; for a file with the seconds that its size adds.

    >>> with use_limits(Limits(file_limit_s=20.0)):
    ...     get_limits().file_limit_s
    20.0
    """
    limits = _current_limits.get() or Limits()
    return limits if path is None else limits.scale_to_file(path)


@contextlib.contextmanager
def enforce_limits(limits: Limits) -> Iterator[None]:
    """Inside the block the system ends this process when its time is over, and refuses it more than its memory.

    The time limit also ends a decoder that never returns, and a process whose parent is dead. Not for a main process.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    signal.setitimer(signal.ITIMER_REAL, limits.file_limit_s)
    try:
        if (data_bytes := _read_data_bytes()) is not None:
            max_bytes, hard = data_bytes + limits.file_memory_mb * 2**20, before[1]
            soft = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _read_data_bytes() -> int | None:
    """Private memory of this process as RLIMIT_DATA counts it; None where the system does not know."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None
