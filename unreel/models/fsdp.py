"""FSDP: weights, gradients and optimiser state are sharded over the processes.

torch's `fully_shard` gathers the weights of a block before the block runs and frees them after it. Names, order and
values are those of one process, so a checkpoint is complete, and a run continues sharded or not. Buffers are not
sharded: queue, memory bank and running statistics.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def iter_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The modules that are gathered one at a time: members of sequences (residual blocks, transformer layers)."""
    is_sequence = isinstance(network, nn.Sequential | nn.ModuleList)
    for child in network.children():
        if is_sequence and any(True for _ in child.children()) and not isinstance(child, nn.Sequential | nn.ModuleList):
            yield child
        else:
            yield from iter_blocks(child)


def shard_weights(method: nn.Module, mesh: Any) -> nn.Module:
    """The same method with its weights sharded over the processes of `mesh`; those in no block form one group."""
    from torch.distributed.fsdp import fully_shard  # takes seconds, needed only here

    data_mesh = mesh["data_parallel"]
    for block in list(iter_blocks(method)):
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=data_mesh)
    fully_shard(method, mesh=data_mesh)
    return method


def is_dtensor(value: Any) -> TypeGuard["DTensor"]:
    """Whether a value is a tensor sharded over processes; does not import torch.distributed.tensor (1 s)."""
    module = sys.modules.get("torch.distributed.tensor")  # a DTensor can't exist before its module is imported
    return module is not None and isinstance(value, module.DTensor)


def gather_full_tensor(tensor: Tensor) -> Tensor:
    """The whole tensor, in its full shape; every process must call this, in the same order."""
    return tensor.full_tensor() if is_dtensor(tensor) else tensor


def to_local_shard(tensor: Tensor) -> Tensor:
    """The shard of a tensor in this process, a part of its first axis; changing it in place changes the tensor."""
    return tensor.to_local() if is_dtensor(tensor) else tensor


def shard_like(reference: Any, value: Tensor) -> Tensor:
    """`value`, which every process has whole, sharded like `reference`."""
    if not is_dtensor(reference) or is_dtensor(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    on_device = value.to(reference.to_local().device)
    return distribute_tensor(on_device, reference.device_mesh, reference.placements, src_data_rank=None)


def gather_state(tensors: dict[str, Tensor], keep_result: bool) -> dict[str, Tensor]:
    """All whole tensors on the CPU. Every process must call this; without `keep_result` it gets an empty dict."""
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        full = gather_full_tensor(tensor.detach())
        if keep_result:
            state[name] = full.cpu().contiguous()
    return state


def count_local_bytes(tensors: Iterator[Tensor]) -> int:
    """Bytes of these tensors in this process."""
    return sum(to_local_shard(tensor).untyped_storage().nbytes() for tensor in tensors)
