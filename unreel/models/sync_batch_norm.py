"""Batch norm over the batches of all processes, on a CPU; on CUDA torch has its own (`nn.SyncBatchNorm`).

Mean and variance are those of the joined batch and carry gradients, so several processes compute the same as one.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unreel.models.precision import promote_to_float32


class _AllReduceSum(torch.autograd.Function):
    """Forward: sum of the values over all processes. Backward: sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class SyncBatchNorm(_BatchNorm):
    """Batch norm for any number of dimensions; (B, C, ...) to the same shape."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Every shape is allowed."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        others = [0, *range(2, x.ndim)]
        shape = (1, -1, *[1] * (x.ndim - 2))
        count = x.new_tensor([x.numel() // x.shape[1]], dtype=torch.float64)
        dist.all_reduce(count)
        dtype, x = x.dtype, promote_to_float32(x)
        mean_C = _AllReduceSum.apply(x.sum(others)) / count.item()
        centred = x - mean_C.view(shape)
        variance_C = _AllReduceSum.apply(centred.square().sum(others)) / count.item()
        self._update_running_statistics(mean_C.detach(), variance_C.detach(), count.item())
        out = centred * (variance_C + self.eps).rsqrt().view(shape)
        return (out * self.weight.view(shape) + self.bias.view(shape) if self.affine else out).to(dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean_C: Tensor, variance_C: Tensor, count: float) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked or 1) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, share)
        self.running_var.lerp_(variance_C * (count / max(1.0, count - 1)), share)


def convert_sync_batch_norm(module: nn.Module) -> nn.Module:
    """The same module with its batch norms replaced by synchronised ones; weights, names and statistics stay."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm):
            setattr(module, name, make_sync_batch_norm(child))
        else:
            convert_sync_batch_norm(child)
    return module


def make_sync_batch_norm(batch_norm: _BatchNorm) -> SyncBatchNorm:
    """A synchronised batch norm that shares the weights and statistics of `batch_norm`."""
    new = SyncBatchNorm(
        batch_norm.num_features, batch_norm.eps, batch_norm.momentum, batch_norm.affine, batch_norm.track_running_stats
    )
    for name in ("weight", "bias"):
        setattr(new, name, getattr(batch_norm, name))
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        setattr(new, name, getattr(batch_norm, name))
    new.training = batch_norm.training
    return new
