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
from unreel.video.loading.shared_memory import share_tensor

EXIT_TIMEOUT_S = 1.0
SILENCE_S = 60.0  # a loader that shows no progress for so long, and for the time limits of what it reads, is given up
IDLE_INDEX = -1


class WorkerWatchdog:
    """A row for each loader process: its process id, the instance that it reads (-1: none), and how many it has begun.

    `silent_s` is how long the main process has waited since a row changed or a batch arrived.
    """

    def __init__(self, num_workers: int, instances: Sequence[Instance], limits: Limits) -> None:
        self.instances, self.limits, self.silent_s = instances, limits, 0.0
        self.worker_states = share_tensor(torch.full((max(1, num_workers), 3), IDLE_INDEX, dtype=torch.int64))
        self.last_states = self.worker_states.tolist()

    @contextlib.contextmanager
    def track(self, instance_index: int) -> Iterator[None]:
        """Inside the block this loader process reads an instance within its limits; no effect in the main process."""
        worker = get_worker_info()
        if worker is None:
            yield
            return
        row = self.worker_states[worker.id]
        row[2] += 1
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
            for pid, index, _ in self.worker_states.tolist():
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

    def note_arrival(self) -> None:
        """A batch has arrived: the next silence begins now."""
        self.silent_s = 0.0

    def note_silence(self, waited_s: float, processes: Sequence[Any]) -> None:
        """The main process has waited in vain for some seconds. Raises RunError, and ends the loader's processes, when
        none of them has gone on for `SILENCE_S` beyond the time limits of what they read.

        Seconds of waiting are added up, since a clock also counts those in which all were stopped.
        """
        states = self.worker_states.tolist()
        self.silent_s = self.silent_s + waited_s if states == self.last_states else 0.0
        self.last_states = states
        reading = [index for _, index, _ in states if index != IDLE_INDEX]
        allowed_s = SILENCE_S + max((self._get_limits(index).file_limit_s for index in reading), default=0.0)
        if self.silent_s < allowed_s:
            return
        for process in processes:
            process.kill()
        raise RunError(self._describe_silence(reading))

    def _describe_silence(self, reading: Sequence[int]) -> str:
        if not reading:
            return (
                f"the loader processes have given nothing for {self.silent_s:.0f} s, though none reads a file; what "
                "they print above may say why. Run it again with fewer --workers; training goes on with --resume"
            )
        path = self.instances[reading[0]].path
        return (
            f"{path}: reading it has not ended after {self.silent_s:.0f} s, and nothing could end it; is its disk or "
            "network there? Run it again then; training goes on with --resume"
        )
