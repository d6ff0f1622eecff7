"""Joins a batch over processes, so that every clip is compared with the clips of all devices.

Convention: each process averages its loss over its own anchors; DDP then averages the gradients. Since the gradient of
a joined tensor is summed over the processes, the result is that of one process on the joined batch. Every process must
have the same number of rows. In one process all of this is the identity.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _AllGather(torch.autograd.Function):
    """Forward: rows of all processes. Backward: sum over all processes of the gradients of the own rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.num_rows = len(x)
        return concat_ranks(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)  # all_reduce must not change the tensor of autograd
        dist.all_reduce(grad)
        first = get_rank_offset(ctx.num_rows)
        return grad[first : first + ctx.num_rows]


def all_gather(x: Tensor) -> Tensor:
    """Rows of all processes in the order of their ranks, with gradient; (B, ...) to (N, ...).

    >>> all_gather(torch.ones(2, 3)).shape  # in one process the batch itself
    torch.Size([2, 3])
    """
    if get_world_size() == 1:
        return x
    if not x.requires_grad or not torch.is_grad_enabled():
        return concat_ranks(x)
    return _AllGather.apply(x)


def all_gather_no_grad(x: Tensor) -> Tensor:
    """Rows of all processes in the order of their ranks, without gradient; (B, ...) to (N, ...)."""
    return x.detach() if get_world_size() == 1 else concat_ranks(x.detach())


def get_rank_offset(num_rows: int) -> int:
    """The first row of this process in the joined batch, if each process has `num_rows`.

    >>> get_rank_offset(8)  # in one process
    0
    """
    return dist.get_rank() * num_rows if get_world_size() > 1 else 0


def get_world_size() -> int:
    """The number of processes that train together, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@torch.no_grad()
def concat_ranks(x: Tensor) -> Tensor:
    """Rows of all processes in the order of their ranks, without gradient; (B, ...) to (N, ...)."""
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)
