"""The processes that fill a store together: their device, their loaders, and what ends them."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from unreel.embedding import ClipWorkers, EncoderRecipe, EngineWorkers
from unreel.engines.engine_choice import get_engine
from unreel.errors import InputError, PeerStoppedError
from unreel.settings import RuntimeSettings
from unreel.training.runtime.auto_settings import choose_device
from unreel.training.runtime.distributed import SINGLE_PROCESS, ProcessGroup, join_process_group
from unreel.training.runtime.fabric import build_fabric
from unreel.training.runtime.launch import count_processes, is_launched
from unreel.types import ProgressCallback

ProgressBarFactory = Callable[[str], AbstractContextManager[ProgressCallback]]  # takes a label


def join_processes(devices: int) -> tuple[ProcessGroup, torch.device, int]:
    """The group of processes started together, the device of this one, and its number of loader processes.

    With an engine this process is alone, also where a launcher started it. Raises InputError.
    """
    if get_engine() is not None:
        if devices > 1:
            raise InputError(f"--devices {devices} starts processes here, an engine has workers; give one of the two")
        return SINGLE_PROCESS, torch.device("cpu"), 1
    device = choose_device("auto")
    threads = max(1, torch.get_num_threads() // (1 if is_launched() else devices))
    settings = RuntimeSettings(device=device, devices=devices, threads=threads, precision="32-true")
    num_local, num_machines = count_processes(settings)
    num_workers = max(1, min(8, (os.cpu_count() or 2) // num_local - 1))
    if num_local * num_machines == 1:
        return SINGLE_PROCESS, torch.device(device), num_workers
    fabric = build_fabric(settings)
    group = join_process_group(fabric, settings.silence_limit_s, "the same command goes on")
    return group, fabric.device, num_workers


def choose_workers(recipe: EncoderRecipe, num_workers: int) -> ClipWorkers:
    """The workers of the engine of the surroundings, which make the encoder by the recipe; else loader processes."""
    engine = get_engine()
    return num_workers if engine is None else EngineWorkers(engine, recipe)


def no_progress_bar(_label: str) -> AbstractContextManager[ProgressCallback]:
    return nullcontext(lambda _done, _total: None)


def watch_parent_process(parent_pid: int) -> ProgressBarFactory:
    """A progress bar that shows nothing and raises PeerStoppedError when the parent process has ended."""

    def advance(_done: int, _total: int) -> None:
        if os.getppid() != parent_pid:
            raise PeerStoppedError

    return lambda _label: nullcontext(advance)
