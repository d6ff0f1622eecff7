"""The process group of a run: ranks, and the values that processes exchange beside gradients.

Each process takes its own part of one global order, so that training does not depend on their number. Values travel
over gloo, from memory to memory, so that no process waits for its GPU.
"""

import contextlib
import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from unreel.errors import PeerStoppedError
from unreel.training.runtime.heartbeat import Heartbeat, start_heartbeat

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLLECTIVE_TIMEOUT = timedelta(days=7)  # the others wait for rank 0, which may have to inspect very many videos
T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """Process `rank` of `world_size`; rank 0 writes. Made by `join_process_group`; one process by default."""

    rank: int = 0
    world_size: int = 1
    gloo_group: Any = None
    heartbeat: Heartbeat | None = None

    @property
    def is_rank_zero(self) -> bool:
        return self.rank == 0

    def all_gather(self, value: T) -> list[T]:
        """The value of every process, in the order of their ranks."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.gloo_group)
        return values

    def any_rank(self, flag: bool) -> bool:
        """Whether the flag is set in at least one process."""
        return any(self.all_gather(flag))

    def all_reduce_mean(self, values: list[float]) -> list[float]:
        """Mean of each value over the processes; each process gives the same number of values."""
        if self.world_size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums, group=self.gloo_group)
        return (sums / self.world_size).tolist()

    def on_rank_zero(self, function: Callable[[], T]) -> T:
        """Call the function on rank 0; every process returns its result, or stops when it fails there."""
        if self.world_size == 1:
            return function()
        message: list[Any] = [None, 2]  # the result, and the exit code of all processes
        try:
            if self.is_rank_zero:
                message = [function(), 0]
        except BaseException as error:
            message[1] = 130 if isinstance(error, KeyboardInterrupt) else 2
            with contextlib.suppress(RuntimeError):  # peers that are already gone are not the reason
                dist.broadcast_object_list(message, src=0, group=self.gloo_group)
            raise
        dist.broadcast_object_list(message, src=0, group=self.gloo_group)
        if message[1]:
            raise PeerStoppedError(message[1])
        result: T = message[0]
        return result


SINGLE_PROCESS = ProcessGroup()


def join_process_group(fabric: "Fabric", timeout_s: float, resume_hint: str) -> ProcessGroup:
    """This process and those that were started with it; `resume_hint` is printed when one is lost (heartbeat.py)."""
    if fabric.world_size == 1:
        return SINGLE_PROCESS
    getattr(fabric.strategy.launcher, "procs", []).clear()  # or Fabric kills the first one before it has said why
    gloo_group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    group = ProcessGroup(fabric.global_rank, fabric.world_size, gloo_group)
    run_id = group.on_rank_zero(lambda: uuid.uuid4().hex)
    heartbeat = start_heartbeat(group.rank, group.world_size, run_id, timeout_s, resume_hint)
    return dataclasses.replace(group, heartbeat=heartbeat)


def leave_process_group(group: ProcessGroup) -> None:
    """Stop the heartbeat and the process group: this process is alone again."""
    if group.heartbeat is not None:
        group.heartbeat.stop()
    if group.world_size > 1:
        dist.destroy_process_group()
