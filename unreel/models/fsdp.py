"""Weights, gradients and the optimiser's state spread over the processes, each of which holds a share (FSDP).

torch's `fully_shard`: the weights of a block are gathered when it is its turn and let go of after it. Names, order and
values are those of one process, so a checkpoint is whole and a run goes on sharded or not. Not spread: what a method
remembers (queue, memory bank) and running statistics, which are buffers.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def iter_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """What is gathered by itself: the members of a network's rows of blocks (residual blocks, transformer layers)."""
    row = isinstance(network, nn.Sequential | nn.ModuleList)
    for child in network.children():
        if row and any(True for _ in child.children()) and not isinstance(child, nn.Sequential | nn.ModuleList):
            yield child
        else:
            yield from iter_blocks(child)


def shard_weights(method: nn.Module, mesh: Any) -> nn.Module:
    """The same method, its weights spread over the processes of `mesh`; what is in no block is gathered at once."""
    from torch.distributed.fsdp import fully_shard  # takes seconds, and only this needs it

    over = mesh["data_parallel"]
    for block in list(iter_blocks(method)):
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=over)
    fully_shard(method, mesh=over)
    return method


def is_dtensor(value: Any) -> TypeGuard["DTensor"]:
    """Whether a value is a tensor that is spread over processes; does not import torch.distributed.tensor (1 s)."""
    module = sys.modules.get("torch.distributed.tensor")  # a DTensor can't exist before its module is imported
    return module is not None and isinstance(value, module.DTensor)


def gather_full_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor; every process must ask for it, in the same order."""
    return tensor.full_tensor() if is_dtensor(tensor) else tensor


def to_local_shard(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor; changing it changes the tensor."""
    return tensor.to_local() if is_dtensor(tensor) else tensor


def shard_like(reference: Any, value: Tensor) -> Tensor:
    """`value`, which every process has whole, spread as `weight` is."""
    if not is_dtensor(reference) or is_dtensor(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    there = value.to(reference.to_local().device)
    return distribute_tensor(there, reference.device_mesh, reference.placements, src_data_rank=None)


def gather_state(tensors: dict[str, Tensor], keep_result: bool) -> dict[str, Tensor]:
    """The whole of each tensor on the CPU; every process takes part, and those that do not `keep` get none."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        all_of_it = gather_full_tensor(tensor.detach())
        if keep_result:
            found[name] = all_of_it.cpu().contiguous()
    return found


def count_local_bytes(tensors: Iterator[Tensor]) -> int:
    """Bytes of these tensors in this process."""
    return sum(to_local_shard(tensor).untyped_storage().nbytes() for tensor in tensors)
