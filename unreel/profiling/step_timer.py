"""Times the parts of one training step, synchronising with the device after each.

The parts follow each other on one clock, so they never sum to more than the step. Synchronising keeps a GPU from
overlapping its work; `time_loop` in measure.py times the same step without it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from unreel.training.batches import move_clips
from unreel.training.nan_guard import NanGuard
from unreel.training.runtime.network_setup import find_backbones
from unreel.training.train_step import TrainingSetup, update_weights
from unreel.types import Clips

# In the order of the step; the label of each in the table.
STEP_PARTS = {
    "move": "to the device",
    "views": "augmentation and views",
    "forward": "network, forward",
    "teacher": "network without gradient (teacher, memory)",
    "loss": "heads, scores and loss",
    "backward": "backward",
    "optimiser": "optimiser",
    "memory": "memory, queue, teacher follow",
}


class StepTimer:
    """Adds up the seconds between marks under the names of the parts, synchronising with the device at each mark."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.part_seconds = dict.fromkeys(STEP_PARTS, 0.0)
        self.start_s = self.last_mark_s = self.read_clock_s()

    def read_clock_s(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        elif self.device == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def mark(self, name: str) -> None:
        """Count the time since the last mark for the part `name`."""
        now_s = self.read_clock_s()
        self.part_seconds[name] += now_s - self.last_mark_s
        self.last_mark_s = now_s

    def total_s(self) -> float:
        """Seconds from the start to the last mark."""
        return self.last_mark_s - self.start_s


class StepTiming(NamedTuple):
    """Seconds of each part of one step, and of the step."""

    part_seconds: dict[str, float]
    step_s: float


def time_step(setup: TrainingSetup, clips: Clips, step: int) -> StepTiming:
    """Time one training step on a decoded batch, part by part; it changes the weights as in the loop."""
    job = setup.job
    guard = NanGuard(job.run_folder, job.instances, job.settings.read_back == "each-log")
    timer = StepTimer(setup.fabric.device.type)
    moved = move_clips(clips, setup.fabric)
    timer.mark("move")
    with time_backbone_calls(job.method, timer):
        update_weights(setup, moved, step, guard, mark=timer.mark)
    return StepTiming(timer.part_seconds, timer.total_s())


@contextmanager
def time_backbone_calls(method: nn.Module, timer: StepTimer) -> Iterator[None]:
    """Mark every call of a network, with gradient or without; the time between calls counts for the loss.

    The call itself is wrapped, because a hook would be compiled into a compiled network.
    """
    backbones = find_backbones(method)
    before = {module: module.__dict__.get("_compiled_call_impl") for module in backbones}
    for module in backbones:
        module._compiled_call_impl = wrap_call(module._compiled_call_impl or module._call_impl, timer)
    try:
        yield
    finally:
        for module in backbones:
            del module._compiled_call_impl
            if before[module] is not None:
                module._compiled_call_impl = before[module]


def wrap_call(call: Callable[..., Any], timer: StepTimer) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        timer.mark("loss")
        result = call(*args, **options)
        timer.mark("forward" if torch.is_grad_enabled() else "teacher")
        return result

    return wrapped


def record_network_calls(method: nn.Module, step: Callable[[], object]) -> list[tuple[int, bool]]:
    """(clips, with gradient?) of each call of a network in one step, which must run uncompiled."""
    calls: list[tuple[int, bool]] = []
    hooks = [
        network.register_forward_pre_hook(lambda _module, args: calls.append((len(args[0]), torch.is_grad_enabled())))
        for network in find_backbones(method)
    ]
    step()
    for hook in hooks:
        hook.remove()
    return calls
