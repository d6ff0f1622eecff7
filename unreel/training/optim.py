"""Optimisers, and the learning rate as a pure function of the step, so that a resumed run has nothing to restore."""

import math

import torch
from torch import nn

from unreel.settings import Settings

# The paper's drops after epochs 45, 90, 125 and 160 of 240, as shares of a run. Source: METHODS 1.5.
DROPS = (45 / 240, 90 / 240, 125 / 240, 160 / 240)
DROP_FACTOR = 0.2


def build_optimizer(method: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over every trainable weight."""
    weights = [p for p in method.parameters() if p.requires_grad]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(weights, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)


def lr_at(step: int, total_steps: int, settings: Settings) -> float:
    """Learning rate of a step. For 240 epochs the drops fall on the first step of the epochs that the paper names."""
    warmup_steps = settings.warmup * total_steps
    if step < warmup_steps:
        return settings.lr * (step + 1) / (warmup_steps + 1)
    if settings.schedule == "cosine":
        share = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * share))
    return settings.lr * DROP_FACTOR ** sum(step / total_steps >= drop - 1e-9 for drop in DROPS)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
