"""Loader processes that die or hang: which file did it, so that it can be left out and the others go on.

Each process writes what it is at into memory that all share. One that stays at a file for too long is killed here; one
that died (a decoder's crash, the system's memory killer) is known by its number.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import get_worker_info

from unreel.errors import RunError

LOOK_S, DYING_S = 0.5, 1.0
IDLE = -1.0
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


class Watch:
    """A row for each loader process: its number, the instance it is at (-1: none), and since when."""

    def __init__(self, workers: int, limit_s: float) -> None:
        self.limit_s = limit_s
        self.rows = torch.full((max(1, workers), 3), IDLE, dtype=torch.float64).share_memory_()

    @contextlib.contextmanager
    def at(self, index: int) -> Iterator[None]:
        """Say what this process is at; in the main process nobody would look."""
        worker = get_worker_info()
        if worker is None:
            yield
            return
        row = self.rows[worker.id]
        row[0], row[2], row[1] = os.getpid(), time.monotonic(), index  # the instance last: then the rest is true
        try:
            yield
        finally:
            row[1] = IDLE

    @contextlib.contextmanager
    def ending_hangs(self) -> Iterator[None]:
        """Meanwhile kill a process that is at one file for longer than the limit."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                for pid, index, since_s in self.rows.tolist():
                    if index >= 0 and time.monotonic() - since_s > self.limit_s:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def culprit(self, processes: Sequence[Any]) -> tuple[int, str] | None:
        """The instance that one of the loader's processes has just died of, and how; None when none died at one.

        Raises RunError for one that was ended from outside: by the system for want of memory, or by a person.
        """
        until_s = time.monotonic() + DYING_S
        while time.monotonic() < until_s:
            codes = {process.pid: process.exitcode for process in processes}
            for pid, index, since_s in self.rows.tolist():
                if index < 0 or (code := codes.get(int(pid))) is None:
                    continue
                if -code in CRASHES:
                    return int(index), f"damaged: reading it ended the process ({signal.Signals(-code).name})"
                if -code == signal.SIGKILL and time.monotonic() - since_s > self.limit_s:
                    return int(index), f"damaged: reading it did not end within {self.limit_s:g} s"
                raise RunError(
                    f"a loader process was ended from outside (exit code {code}); where memory is short, lower "
                    "--workers or --cache-mb. Go on with --resume"
                )
            time.sleep(0.05)
        return None
