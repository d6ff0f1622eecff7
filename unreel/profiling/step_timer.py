"""One training step taken apart: seconds of each part, the device waited for between them.

The parts are stretches of one clock, so they never sum to more than the step. Waiting between them costs a GPU what it
would overlap: the loop (loop.py) tells how fast the same step is without.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from unreel.training.loop import TrainingJob, move_clips
from unreel.training.optimizers import compute_lr, set_lr
from unreel.training.runtime.auto_settings import find_backbones
from unreel.types import Clips

if TYPE_CHECKING:
    from lightning.fabric import Fabric

# In the order of the step; what each is called in the table.
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


class TrainingSetup(NamedTuple):
    """A job and what the loop sets up for it."""

    job: TrainingJob
    fabric: "Fabric"
    method: Any
    optimizer: Any


class StepTimer:
    """Seconds since the mark before, the device waited for, added up under a name."""

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
        """What happened since the last mark was `name`."""
        now_s = self.read_clock_s()
        self.part_seconds[name] += now_s - self.last_mark_s
        self.last_mark_s = now_s

    def total_s(self) -> float:
        """From the first mark to the last."""
        return self.last_mark_s - self.start_s


class StepTiming(NamedTuple):
    """Seconds of each part of one step, and of the step."""

    part_seconds: dict[str, float]
    step_s: float


def time_step(setup: TrainingSetup, clips: Clips, step: int) -> StepTiming:
    """One step of the loop on a decoded batch, taken apart; it changes the weights as the loop's own does."""
    job, fabric, method, optimizer = setup
    set_lr(optimizer, compute_lr(step, job.total_steps, job.settings))
    job.method.train()
    clock = StepTimer(fabric.device.type)
    there = move_clips(clips, fabric)
    clock.mark("move")
    views = job.recipe(there)
    clock.mark("views")
    with time_backbone_calls(job.method, clock):
        output = method(views)
    clock.mark("loss")
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(output.loss)
    clock.mark("backward")
    torch.nn.utils.get_total_norm([p.grad for p in job.method.parameters() if p.grad is not None])
    optimizer.step()
    clock.mark("optimiser")
    job.method.after_step()  # type: ignore[operator]
    clock.mark("memory")
    return StepTiming(clock.part_seconds, clock.total_s())


@contextmanager
def time_backbone_calls(method: nn.Module, timer: StepTimer) -> Iterator[None]:
    """Mark every call of a network, with gradient or without; what lies between belongs to the loss.

    A hook would be compiled into a compiled network, so the call itself is wrapped.
    """
    found = find_backbones(method)
    before = {module: module.__dict__.get("_compiled_call_impl") for module in found}
    for module in found:
        module._compiled_call_impl = wrap_call(module._compiled_call_impl or module._call_impl, timer)
    try:
        yield
    finally:
        for module in found:
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
    """(clips, with gradient?) of each call of a network in one step, which must run as written."""
    calls: list[tuple[int, bool]] = []
    hooks = [
        network.register_forward_pre_hook(lambda _module, given: calls.append((len(given[0]), torch.is_grad_enabled())))
        for network in find_backbones(method)
    ]
    step()
    for hook in hooks:
        hook.remove()
    return calls
