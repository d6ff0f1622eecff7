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

from unreel.training.device import networks
from unreel.training.loop import Job, on_device
from unreel.training.optim import lr_at, set_lr
from unreel.types import Clips

if TYPE_CHECKING:
    from lightning.fabric import Fabric

# In the order of the step; what each is called in the table.
PARTS = {
    "move": "to the device",
    "views": "augmentation and views",
    "forward": "network, forward",
    "teacher": "network without gradient (teacher, memory)",
    "loss": "heads, scores and loss",
    "backward": "backward",
    "optimiser": "optimiser",
    "memory": "memory, queue, teacher follow",
}


class Trainer(NamedTuple):
    """A job and what the loop sets up for it."""

    job: Job
    fabric: "Fabric"
    method: Any
    optimizer: Any


class Clock:
    """Seconds since the mark before, the device waited for, added up under a name."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.began_s = self.marked_s = self.now_s()

    def now_s(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        elif self.device == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def mark(self, name: str) -> None:
        """What happened since the last mark was `name`."""
        now_s = self.now_s()
        self.seconds[name] += now_s - self.marked_s
        self.marked_s = now_s

    def whole_s(self) -> float:
        """From the first mark to the last."""
        return self.marked_s - self.began_s


class Taken(NamedTuple):
    """Seconds of each part of one step, and of the step."""

    parts: dict[str, float]
    step_s: float


def timed_step(trainer: Trainer, clips: Clips, step: int) -> Taken:
    """One step of the loop on a decoded batch, taken apart; it changes the weights as the loop's own does."""
    job, fabric, method, optimizer = trainer
    set_lr(optimizer, lr_at(step, job.total_steps, job.settings))
    job.method.train()
    clock = Clock(fabric.device.type)
    there = on_device(clips, fabric)
    clock.mark("move")
    views = job.recipe(there)
    clock.mark("views")
    with calls_marked(job.method, clock):
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
    return Taken(clock.seconds, clock.whole_s())


@contextmanager
def calls_marked(method: nn.Module, clock: Clock) -> Iterator[None]:
    """Mark every call of a network, with gradient or without; what lies between belongs to the loss.

    A hook would be compiled into a compiled network, so the call itself is wrapped.
    """
    found = networks(method)
    before = {module: module.__dict__.get("_compiled_call_impl") for module in found}
    for module in found:
        module._compiled_call_impl = marked(module._compiled_call_impl or module._call_impl, clock)
    try:
        yield
    finally:
        for module in found:
            del module._compiled_call_impl
            if before[module] is not None:
                module._compiled_call_impl = before[module]


def marked(call: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        clock.mark("loss")
        result = call(*args, **options)
        clock.mark("forward" if torch.is_grad_enabled() else "teacher")
        return result

    return wrapped


def network_calls(method: nn.Module, step: Callable[[], object]) -> list[tuple[int, bool]]:
    """(clips, with gradient?) of each call of a network in one step, which must run as written."""
    calls: list[tuple[int, bool]] = []
    hooks = [
        network.register_forward_pre_hook(lambda _module, given: calls.append((len(given[0]), torch.is_grad_enabled())))
        for network in networks(method)
    ]
    step()
    for hook in hooks:
        hook.remove()
    return calls
