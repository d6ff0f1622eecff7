"""Learning rate of a fine-tuning step, as a function of the step and of the losses so far."""

import math
from collections.abc import Sequence

from unreel.evaluation.finetuning.recipes import Recipe

PLATEAU_THRESHOLD = 1e-4  # a loss counts as lower when it is lower by this share of the lowest so far


def compute_lr(step: int, total_steps: int, recipe: Recipe, epoch_losses: Sequence[float] = ()) -> float:
    """Learning rate of a step; the `plateau` schedule depends on the losses of the epochs before it."""
    if recipe.schedule == "plateau":
        return compute_plateau_lr(epoch_losses, recipe)
    if recipe.schedule == "cosine":
        warmup_steps = total_steps * recipe.warmup_epochs / recipe.epochs
        risen = step / warmup_steps if step < warmup_steps else 1.0
        return risen * recipe.lr * 0.5 * (1 + math.cos(math.pi * max(step, warmup_steps) / total_steps))
    return recipe.lr * recipe.drop_factor ** sum(step / total_steps >= drop - 1e-9 for drop in recipe.drops)


def compute_plateau_lr(epoch_losses: Sequence[float], recipe: Recipe) -> float:
    """The rate after these epochs: dropped, but not below `min_lr`, after `patience` + 1 epochs without a lower loss.

    Source: PyTorch's ReduceLROnPlateau with its default threshold (relative, 1e-4) and no cooldown.
    """
    lr, lowest, num_bad = recipe.lr, math.inf, 0
    for loss in epoch_losses:
        is_lower = loss < lowest * (1 - PLATEAU_THRESHOLD)
        lowest, num_bad = (loss, 0) if is_lower else (lowest, num_bad + 1)
        if num_bad > recipe.patience:
            lr, num_bad = max(lr * recipe.drop_factor, min(lr, recipe.min_lr)), 0
    return lr
