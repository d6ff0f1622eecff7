"""The learning rate as a pure function of the step, so that a resumed run has nothing to restore."""

import math

import torch

from unreel.settings import OptimisationSettings


def compute_lr(step: int, total_steps: int, settings: OptimisationSettings, steps_per_epoch: int = 0) -> float:
    """Learning rate of a step. With 240 epochs the drops fall on the first step of the epochs that the paper names.

    `steps_per_epoch` is for a warm-up in epochs. Source of `cosine-from-start`: tensorflow/models, whose linear warm-up
    rises from 0 at the first step to the value that the cosine has where it ends.
    """
    warmup_steps = settings.warmup_epochs * steps_per_epoch or settings.warmup * total_steps
    if settings.schedule == "cosine-from-start":
        risen = step / warmup_steps if step < warmup_steps else 1.0
        share = min(1.0, max(step, warmup_steps) / total_steps)
        return risen * settings.lr * 0.5 * (1 + math.cos(math.pi * share))
    if step < warmup_steps:
        return settings.lr * (step + 1) / (warmup_steps + 1)
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "cosine":
        share = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * share))
    return settings.lr * settings.drop_factor ** sum(step / total_steps >= drop - 1e-9 for drop in settings.drops)


def describe_new_length(
    done: int, before: int, steps: int, settings: OptimisationSettings, steps_per_epoch: int = 0
) -> str:
    """What another number of steps in all does to the learning rate of a run that has done some of them."""

    def rate(step: int, total_steps: int) -> float:
        return compute_lr(step, total_steps, settings, steps_per_epoch)

    if all(rate(n, before) == rate(n, steps) for n in range(done)):
        return f"{steps} steps in all: the learning rate of the {done} steps done was that of a run of this length"
    old, new = rate(max(0, done - 1), before), rate(min(done, steps - 1), steps)
    return (
        f"{steps} steps in all: the schedule '{settings.schedule}' with warm-up {settings.warmup:g} depends on the "
        f"length, so the learning rate goes from {old:.3g} to {new:.3g} at step {done} and then as in a run of {steps} "
        "steps; a run that was given them at the start differs"
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
