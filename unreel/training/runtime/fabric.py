"""Lightning Fabric on the device of the settings, with one process or several."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import deterministic as torch_deterministic

from unreel.models.fsdp import shard_weights
from unreel.settings import DistributedSettings, RuntimeSettings
from unreel.training.runtime.auto_settings import choose_device
from unreel.training.runtime.launch import count_processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def build_fabric(settings: RuntimeSettings) -> "Fabric":
    """Fabric on the settings' device; on a CPU torch is told to be deterministic."""
    with hide_torchmetrics():
        from lightning_fabric import Fabric  # takes seconds, and only training needs it

    device, precision = choose_device(settings.device), settings.precision
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(device == "cpu")
    # Filling new memory with NaN finds bugs, in the tests too, and takes 4 to 7 % of a step.
    torch_deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = device == "cuda"  # every step has the same shapes
    torch.set_float32_matmul_precision("highest" if precision == "32-true" else "high")
    fabric_precision: Any = "32-true" if precision == "auto" else precision
    launch = count_processes(settings)
    if launch.world_size == 1:
        return Fabric(accelerator=device, devices=1, precision=fabric_precision)
    strategy = build_strategy(settings, launch.world_size, "nccl" if device == "cuda" else "gloo")
    # Strides of 1x1x1 kernels can be written in two ways; writing them in the other way would save no copy.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    fabric = Fabric(
        accelerator=device,
        devices=launch.per_machine,
        num_nodes=launch.machines,
        precision=fabric_precision,
        strategy=strategy,
    )
    fabric.launch()
    if settings.threads:
        torch.set_num_threads(settings.threads)  # launching changes it
    return fabric


@contextmanager
def hide_torchmetrics() -> Iterator[None]:
    """Fabric imports torchmetrics, where installed, only to read its version; that takes seconds."""
    if "torchmetrics" in sys.modules:
        yield
        return
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # importing it raises ModuleNotFoundError
    try:
        yield
    finally:
        del sys.modules["torchmetrics"]


def build_strategy(settings: DistributedSettings, world_size: int, backend: str) -> Any:
    """Every process with all weights (DDP), or with its share of them (FSDP)."""
    from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy

    if is_sharded(settings, world_size):
        return ModelParallelStrategy(shard_weights, world_size, tensor_parallel_size=1, process_group_backend=backend)
    # Every process updates buffers in the same way, so they are not sent with each step.
    return DDPStrategy(process_group_backend=backend, broadcast_buffers=False)


@contextmanager
def use_torch_threads(num_threads: int) -> Iterator[None]:
    """Use this many CPU threads in the block; 0 leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_sharded(settings: DistributedSettings, world_size: int) -> bool:
    """Whether the weights are spread over the processes; a single process has all of them."""
    return settings.shard == "on" and world_size > 1
