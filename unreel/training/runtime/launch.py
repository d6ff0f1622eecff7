"""How many processes a run has: as torchrun or SLURM started them, else `devices` on this machine."""

import os
from typing import NamedTuple

import torch

from unreel.errors import InputError
from unreel.settings import DataSettings, RuntimeSettings


class Launch(NamedTuple):
    """Processes on each machine, and machines."""

    per_machine: int
    machines: int

    @property
    def world_size(self) -> int:
        return self.per_machine * self.machines


def is_launched() -> bool:
    """Whether torchrun or SLURM started this process among others."""
    env = os.environ
    slurm = "SLURM_NTASKS" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive")  # as Fabric decides
    return "LOCAL_WORLD_SIZE" in env or slurm


def count_processes(settings: RuntimeSettings) -> Launch:
    """Processes on each machine, and machines.

    Raises InputError for more devices than there are GPUs, and for another launcher, whose processes would not find
    each other.
    """
    env = os.environ
    if is_launched() and "LOCAL_WORLD_SIZE" in env:  # torchrun
        per_machine = int(env["LOCAL_WORLD_SIZE"])
        return Launch(per_machine, int(env["WORLD_SIZE"]) // per_machine)
    if is_launched():
        machines = int(env.get("SLURM_NNODES", "1"))
        return Launch(int(env["SLURM_NTASKS"]) // machines, machines)
    if int(env.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" not in env:
        raise InputError("WORLD_SIZE is set and LOCAL_WORLD_SIZE is not: start several processes with torchrun or srun")
    gpus = torch.cuda.device_count()
    if settings.devices > 1 and (settings.device == "mps" or (settings.device == "cuda" and settings.devices > gpus)):
        available = "one" if settings.device == "mps" else gpus
        raise InputError(f"--devices {settings.devices}, and there is {available} on this machine; give fewer")
    return Launch(settings.devices, 1)


def require_enough_instances(num_instances: int, world_size: int) -> None:
    """Raise InputError when there are fewer videos or segments to train on than processes."""
    if num_instances < world_size:
        raise InputError(
            f"{world_size} processes have {num_instances} videos or segments to share; start fewer of them"
        )


def require_divisible_batch(settings: DataSettings, world_size: int) -> None:
    """Raise InputError for a batch that can't be divided evenly among the processes."""
    videos = settings.batch_size // settings.draws_per_video
    if videos % world_size:
        raise InputError(
            f"batch_size {settings.batch_size} is that of all {world_size} processes together and can't be divided "
            f"evenly; give a multiple of {world_size * settings.draws_per_video}"
        )
