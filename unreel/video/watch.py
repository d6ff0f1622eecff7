"""Loader processes that die or hang: which file did it, so that it can be left out and the others go on.

Each process writes what it is at into memory that all share. One that stays at a file for too long is killed here; one
that died (a decoder's crash, the system's memory killer) is known by its number.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator

import torch
from torch.utils.data import get_worker_info

LOOK_S, DYING_S = 0.5, 1.0
IDLE = -1.0


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

    def culprit(self) -> tuple[int, str] | None:
        """The instance that a process has just died of, and what is known of it; None when nobody died at one."""
        until_s = time.monotonic() + DYING_S
        while time.monotonic() < until_s:
            alive = {process.pid for process in multiprocessing.active_children()}
            for pid, index, since_s in self.rows.tolist():
                if index >= 0 and int(pid) not in alive:
                    if time.monotonic() - since_s > self.limit_s:
                        return int(index), f"damaged: reading it did not end within {self.limit_s:g} s"
                    return int(index), "damaged: reading it ended the process"
            time.sleep(0.05)
        return None

    def reset(self) -> None:
        """Before new processes begin."""
        self.rows.fill_(IDLE)
