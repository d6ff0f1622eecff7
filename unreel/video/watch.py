"""Loader processes that die or hang: which file did it, so that it can be left out and the others go on.

Each process writes what it is at into memory that all share, and is bounded in time and memory while it is at it
(processes.py); one that died is known by its number.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import get_worker_info

from unreel.errors import RunError
from unreel.types import Instance
from unreel.video.processes import Limits, bounded, how_it_ended

DYING_S = 1.0
IDLE = -1


class Watch:
    """A row for each loader process: its number, and the instance it is at (-1: none)."""

    def __init__(self, workers: int, instances: Sequence[Instance], limits: Limits) -> None:
        self.instances, self.limits = instances, limits
        self.rows = torch.full((max(1, workers), 2), IDLE, dtype=torch.int64).share_memory_()

    @contextlib.contextmanager
    def at(self, index: int) -> Iterator[None]:
        """Say what this process is at, within its limits; the main process must not die, and nobody looks at it."""
        worker = get_worker_info()
        if worker is None:
            yield
            return
        row = self.rows[worker.id]
        row[0], row[1] = os.getpid(), index  # the instance last: then the rest is true
        try:
            with bounded(self._limits(index)):
                yield
        finally:
            row[1] = IDLE

    def _limits(self, index: int) -> Limits:
        return self.limits.reading(self.instances[index].path)

    def culprit(self, processes: Sequence[Any]) -> tuple[int, str] | None:
        """The instance that one of the loader's processes has just died of, and how; None when none died at one.

        Raises RunError for one that was ended from outside: by the system for want of memory, or by a person.
        """
        until_s = time.monotonic() + DYING_S
        while time.monotonic() < until_s:
            codes = {process.pid: process.exitcode for process in processes}
            for pid, index in self.rows.tolist():
                if index < 0 or (code := codes.get(pid)) is None:
                    continue
                if why := how_it_ended(code, self._limits(index)):
                    return index, f"damaged: {why}"
                raise RunError(
                    f"a loader process was ended from outside (exit code {code}); where memory is short, lower "
                    "--workers or --cache-mb. Go on with --resume"
                )
            time.sleep(0.05)
        return None
