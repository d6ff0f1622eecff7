"""Optimisers: SGD, AdamW and LARS."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from unreel.models.fsdp import shard_like
from unreel.settings import Settings

TRUST_COEFFICIENT = 0.001


def build_optimizer(method: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """SGD with momentum, AdamW or LARS over every trainable weight; with `decay_all` off only matrices decay.

    LARS and the fused optimisers skip the update where their attribute `found_inf`, a tensor, is 1.
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
    """Give the state the memory layout and sharding of the weights: a checkpoint holds whole, dense values only."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor) or value.shape != weight.shape:
                continue
            sharded = state[name] = shard_like(weight, value)
            if sharded.stride() != weight.stride():  # fused updates need equal strides
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(sharded)


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose step is scaled, for each matrix, by |w| / |gradient with decay|.

    Vectors (biases, batch norm) take the plain step. Source: You, Gitman, Ginsburg 2017, trust coefficient 0.001; the
    denominator is the norm of gradient plus decay, as in released self-supervised code.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient; none where `found_inf` is 1."""
        found_inf: torch.Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                update = w.grad.add(w, alpha=group["weight_decay"])
                if w.ndim > 1:
                    update = update * compute_trust_ratio(w, update)
                state = self.state[w]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(w)
                step = state["momentum_buffer"].mul_(group["momentum"]).add_(update)
                w.sub_(step if found_inf is None else torch.where(found_inf > 0, 0.0, step), alpha=group["lr"])


def compute_trust_ratio(weight: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
    """TRUST_COEFFICIENT * |weight| / |update|, and 1 where either is zero."""
    ratio = TRUST_COEFFICIENT * weight.norm() / update.norm()
    return torch.where((weight.norm() > 0) & (update.norm() > 0), ratio, torch.ones_like(ratio))
