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

from unreel.errors import InputError, StoppedElsewhere
from unreel.settings import Settings
from unreel.training.pulse import Pulse, meet

if TYPE_CHECKING:
    from lightning.fabric import Fabric

PATIENCE = timedelta(days=7)  # that the others wait for the first, who may have to look into very many videos
T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """Process `rank` of `size`; the first one writes. Made by `join`; alone by default."""

    rank: int = 0
    size: int = 1
    group: Any = None
    pulse: Pulse | None = None

    @property
    def main(self) -> bool:
        return self.rank == 0

    def told(self, word: T) -> list[T]:
        """What every process says, in the order of their ranks."""
        if self.size == 1:
            return [word]
        words: list[Any] = [None] * self.size
        dist.all_gather_object(words, word, group=self.group)
        return words

    def any(self, flag: bool) -> bool:
        """Whether one of them says yes."""
        return any(self.told(flag))

    def mean(self, values: list[float]) -> list[float]:
        """Mean of each value over the processes; everyone brings as many."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums, group=self.group)
        return (sums / self.size).tolist()

    def first(self, work: Callable[[], T]) -> T:
        """The first process does it and the others get what came out, or stop when it failed there."""
        if self.size == 1:
            return work()
        said: list[Any] = [None, 2]  # what came out, or the exit code of all
        try:
            if self.main:
                said = [work(), 0]
        except BaseException as error:
            said[1] = 130 if isinstance(error, KeyboardInterrupt) else 2
            with contextlib.suppress(RuntimeError):  # of others that have gone, which is not the reason
                dist.broadcast_object_list(said, src=0, group=self.group)
            raise
        dist.broadcast_object_list(said, src=0, group=self.group)
        if said[1]:
            raise StoppedElsewhere(said[1])
        result: T = said[0]
        return result


ALONE = Team()


def join(fabric: "Fabric", silence_limit_s: float, go_on: str) -> Team:
    """This process and those that were started with it; `go_on` is said when one of them was lost (pulse.py)."""
    if fabric.world_size == 1:
        return ALONE
    getattr(fabric.strategy.launcher, "procs", []).clear()  # or Fabric kills the first one before it has said why
    team = Team(fabric.global_rank, fabric.world_size, dist.new_group(backend="gloo", timeout=PATIENCE))
    word = team.first(lambda: uuid.uuid4().hex)
    return dataclasses.replace(team, pulse=meet(team.rank, team.size, word, silence_limit_s, go_on))


def leave(team: Team) -> None:
    """The end of working together: what comes after in this process is alone again."""
    if team.pulse is not None:
        team.pulse.stop()
    if team.size > 1:
        dist.destroy_process_group()


def refuse_few(num_instances: int, size: int) -> None:
    """Raise InputError when there are fewer videos or segments to train on than processes."""
    if num_instances < size:
        raise InputError(f"{size} processes have {num_instances} videos or segments to share; start fewer of them")


def refuse_uneven(settings: Settings, size: int) -> None:
    """Raise InputError for a batch that the processes can't share alike."""
    videos = settings.batch_size // settings.draws_per_video
    if videos % size:
        raise InputError(
            f"batch_size {settings.batch_size} is that of all {size} processes together and can't be shared alike; "
            f"give a multiple of {size * settings.draws_per_video}"
        )
