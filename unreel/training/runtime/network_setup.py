"""How a network runs: memory layout, compilation, batch norm over processes, clips at a time."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from unreel.models.memory_layout import move_to_channels_last
from unreel.models.sync_batch_norm import convert_sync_batch_norm
from unreel.settings import RuntimeSettings


def find_backbones(method: nn.Module) -> list[nn.Module]:
    """Every copy of the network in a method: its own, and a teacher's."""
    return [module for name, module in method.named_modules() if name.split(".")[-1] == "backbone"]


def apply_channels_last(method: nn.Module, settings: RuntimeSettings) -> None:
    """Put the weights of 3D convolutions in channels-last order where that is switched on; their values stay."""
    if settings.channels_last == "on":
        move_to_channels_last(method)


def set_clips_at_once(method: nn.Module, settings: RuntimeSettings) -> None:
    """Tell every copy of the network how many clips it takes at a time (models/pooling.py)."""
    for network in find_backbones(method):
        network.clips_at_once = settings.clips_at_once  # type: ignore[assignment]


def convert_batch_norm(method: nn.Module, settings: RuntimeSettings, world_size: int) -> nn.Module:
    """With several processes, batch norm over the batches of all of them; the same weights, the same method object."""
    if world_size == 1 or not settings.sync_batch_norm:
        return method
    if settings.device == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(method)
    return convert_sync_batch_norm(method)  # torch has it for CUDA alone


def compile_backbones(method: nn.Module, settings: RuntimeSettings) -> None:
    """Compile every copy of the network in place where that is switched on; names and weights stay."""
    if settings.compile == "on":
        for network in find_backbones(method):
            network.compile()


def run_eager(settings: RuntimeSettings) -> AbstractContextManager[None]:
    """Run networks without compilation: occasional work with other shapes is not worth compiling."""
    if settings.compile != "on":
        return nullcontext()
    eager_mode: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return eager_mode
