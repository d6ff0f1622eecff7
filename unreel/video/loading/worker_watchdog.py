"""Find the file that killed a loader process or made it hang, so that it can be left out and the others go on.

Each process writes the instance that it reads into shared memory, and reads it within limits of time and memory
(io/limits.py); a process that died is found there by its process id.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import get_worker_info

from unreel.errors import RunError
from unreel.io.limits import FailureKind, Limits, enforce_limits
from unreel.types import FileFailure, Instance

EXIT_TIMEOUT_S = 1.0
IDLE_INDEX = -1


class WorkerWatchdog:
    """A row for each loader process: its process id, and the instance that it reads (-1: none)."""

    def __init__(self, num_workers: int, instances: Sequence[Instance], limits: Limits) -> None:
        self.instances, self.limits = instances, limits
        self.worker_states = torch.full((max(1, num_workers), 2), IDLE_INDEX, dtype=torch.int64).share_memory_()

    @contextlib.contextmanager
    def track(self, instance_index: int) -> Iterator[None]:
        """Inside the block this loader process reads an instance within its limits; no effect in the main process."""
        worker = get_worker_info()
        if worker is None:
            yield
            return
        row = self.worker_states[worker.id]
        row[0], row[1] = os.getpid(), instance_index  # the instance last, when the process id is already there
        try:
            with enforce_limits(self._get_limits(instance_index)):
                yield
        finally:
            row[1] = IDLE_INDEX

    def _get_limits(self, instance_index: int) -> Limits:
        return self.limits.scale_to_file(self.instances[instance_index].path)

    def find_failure(self, processes: Sequence[Any]) -> FileFailure | None:
        """The file that has just killed one of the loader's processes; None when none died while reading.

        Raises RunError for a process that was ended from outside: by the system when memory ran out, or by a person.
        """
        until_s = time.monotonic() + EXIT_TIMEOUT_S
        while time.monotonic() < until_s:
            codes = {process.pid: process.exitcode for process in processes}
            for pid, index in self.worker_states.tolist():
                if index < 0 or (code := codes.get(pid)) is None:
                    continue
                failure = self._get_limits(index).build_exit_failure(code)
                if failure.kind is not FailureKind.KILLED:
                    path = self.instances[index].path
                    return FileFailure(path, "damaged", failure.detail, failure.exceeded_limits)
                raise RunError(
                    f"a loader process was ended from outside (exit code {code}); if memory is short, lower "
                    "--workers or --cache-mb. Continue with --resume"
                )
            time.sleep(0.05)
        return None
