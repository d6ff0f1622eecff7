"""Optimisers, and the learning rate as a pure function of the step, so that a resumed run has nothing to restore."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from unreel.models.fsdp import shard_like
from unreel.settings import OptimisationSettings, Settings

TRUST_COEFFICIENT = 0.001


def build_optimizer(method: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """SGD with momentum, AdamW or LARS over every trainable weight; with `decay_all` off only matrices decay.

    All but SGD and AdamW that are not fused leave the weights alone where a tensor `found_inf`, set on them, is 1.
    """
    weights = [p for p in method.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": settings.weight_decay}]
    if not settings.decay_all:
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, fused=settings.fused == "on" or None)
    if settings.optimizer == "lars":
        return LARS(groups, settings.lr, settings.momentum)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=settings.fused == "on" or None)


def align_optimizer_state(optimizer: torch.optim.Optimizer) -> None:
    """Lay the state out in memory and over processes as the weights are: a checkpoint keeps whole values alone."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor) or value.shape != weight.shape:
                continue
            spread = state[name] = shard_like(weight, value)
            if spread.stride() != weight.stride():  # which fused updates need
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(spread)


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose step is scaled, for each matrix, by |w| / |gradient with decay|.

    Vectors (biases, batch norm) take the plain step. Source: You, Gitman, Ginsburg 2017, trust 0.001; the length is
    that of gradient and decay together, as self-supervised releases have it.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient; none where `found_inf` is 1."""
        refused: torch.Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                change = w.grad.add(w, alpha=group["weight_decay"])
                if w.ndim > 1:
                    change = change * compute_trust_ratio(w, change)
                state = self.state[w]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(w)
                step = state["momentum_buffer"].mul_(group["momentum"]).add_(change)
                w.sub_(step if refused is None else torch.where(refused > 0, 0.0, step), alpha=group["lr"])


def compute_trust_ratio(weight: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
    """LARS_TRUST * |weight| / |change|, and 1 where either is zero."""
    ratio = TRUST_COEFFICIENT * weight.norm() / update.norm()
    return torch.where((weight.norm() > 0) & (update.norm() > 0), ratio, torch.ones_like(ratio))


def compute_lr(step: int, total_steps: int, settings: OptimisationSettings) -> float:
    """Learning rate of a step. For 240 epochs the drops fall on the first step of the epochs that the paper names."""
    warmup_steps = settings.warmup * total_steps
    if step < warmup_steps:
        return settings.lr * (step + 1) / (warmup_steps + 1)
    if settings.schedule == "cosine":
        share = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * share))
    return settings.lr * settings.drop_factor ** sum(step / total_steps >= drop - 1e-9 for drop in settings.drops)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
