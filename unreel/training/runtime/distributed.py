"""The processes of one run: who of them writes, and what they tell each other beside gradients.

Each draws its own part of one global order, so that what is trained does not depend on how many there are. Words go
over gloo, from memory to memory, so that no GPU is waited for.
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

from unreel.errors import InputError, PeerStoppedError
from unreel.settings import DataSettings
from unreel.training.runtime.heartbeat import Heartbeat, start_heartbeat

if TYPE_CHECKING:
    from lightning.fabric import Fabric

COLLECTIVE_TIMEOUT = timedelta(days=7)  # that the others wait for the first, who may have to look into very many videos
T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """Process `rank` of `size`; the first one writes. Made by `join`; alone by default."""

    rank: int = 0
    world_size: int = 1
    gloo_group: Any = None
    heartbeat: Heartbeat | None = None

    @property
    def is_rank_zero(self) -> bool:
        return self.rank == 0

    def all_gather(self, value: T) -> list[T]:
        """What every process says, in the order of their ranks."""
        if self.world_size == 1:
            return [value]
        words: list[Any] = [None] * self.world_size
        dist.all_gather_object(words, value, group=self.gloo_group)
        return words

    def any_rank(self, flag: bool) -> bool:
        """Whether one of them says yes."""
        return any(self.all_gather(flag))

    def all_reduce_mean(self, values: list[float]) -> list[float]:
        """Mean of each value over the processes; everyone brings as many."""
        if self.world_size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums, group=self.gloo_group)
        return (sums / self.world_size).tolist()

    def on_rank_zero(self, function: Callable[[], T]) -> T:
        """The first process does it and the others get what came out, or stop when it failed there."""
        if self.world_size == 1:
            return function()
        said: list[Any] = [None, 2]  # what came out, or the exit code of all
        try:
            if self.is_rank_zero:
                said = [function(), 0]
        except BaseException as error:
            said[1] = 130 if isinstance(error, KeyboardInterrupt) else 2
            with contextlib.suppress(RuntimeError):  # of others that have gone, which is not the reason
                dist.broadcast_object_list(said, src=0, group=self.gloo_group)
            raise
        dist.broadcast_object_list(said, src=0, group=self.gloo_group)
        if said[1]:
            raise PeerStoppedError(said[1])
        result: T = said[0]
        return result


SINGLE_PROCESS = ProcessGroup()


def join_process_group(fabric: "Fabric", timeout_s: float, resume_hint: str) -> ProcessGroup:
    """This process and those that were started with it; `go_on` is said when one of them was lost (pulse.py)."""
    if fabric.world_size == 1:
        return SINGLE_PROCESS
    getattr(fabric.strategy.launcher, "procs", []).clear()  # or Fabric kills the first one before it has said why
    team = ProcessGroup(
        fabric.global_rank, fabric.world_size, dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    )
    word = team.on_rank_zero(lambda: uuid.uuid4().hex)
    return dataclasses.replace(
        team, heartbeat=start_heartbeat(team.rank, team.world_size, word, timeout_s, resume_hint)
    )


def leave_process_group(group: ProcessGroup) -> None:
    """The end of working together: what comes after in this process is alone again."""
    if group.heartbeat is not None:
        group.heartbeat.stop()
    if group.world_size > 1:
        dist.destroy_process_group()


def require_enough_instances(num_instances: int, world_size: int) -> None:
    """Raise InputError when there are fewer videos or segments to train on than processes."""
    if num_instances < world_size:
        raise InputError(
            f"{world_size} processes have {num_instances} videos or segments to share; start fewer of them"
        )


def require_divisible_batch(settings: DataSettings, world_size: int) -> None:
    """Raise InputError for a batch that the processes can't share alike."""
    videos = settings.batch_size // settings.draws_per_video
    if videos % world_size:
        raise InputError(
            f"batch_size {settings.batch_size} is that of all {world_size} processes together and can't be shared alike; "
            f"give a multiple of {world_size * settings.draws_per_video}"
        )
