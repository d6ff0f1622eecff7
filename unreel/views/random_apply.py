"""Random choices from uniforms in [0, 1), and an operation on a random part of a batch.

Uniforms may stay on the CPU, and do in training: the chosen clips are then known without waiting for a GPU, and what is
computed from the uniforms (boxes, kernels, colour matrices) is small enough to be copied.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def uniform_to_index(u_B: Tensor, count: Tensor | int) -> Tensor:
    """int64 (B,) uniform over 0..count-1; the minimum handles u * count that rounds up to count.

    >>> uniform_to_index(torch.tensor([0.0, 0.5, 0.99]), 4)
    tensor([0, 2, 3])
    """
    return torch.minimum((u_B * count).long(), torch.as_tensor(count, device=u_B.device) - 1)


def uniform_to_range(u_B: Tensor, low: float, high: float) -> Tensor:
    """Uniforms (B,) in [0, 1) spread over [low, high)."""
    return low + (high - low) * u_B


def to_device_of(x: Tensor, reference: Tensor) -> Tensor:
    """`x`, of any shape, on the device of `reference`, without waiting for a GPU."""
    return x.to(reference.device, non_blocking=reference.is_cuda)


def constant_like(values: Sequence[float], reference: Tensor) -> Tensor:
    """A few numbers (n,) with the type and device of `reference`."""
    return to_device_of(torch.tensor(values, dtype=reference.dtype), reference)


def apply_where(clips: Tensor, mask_B: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The clips with `operation(chosen clips, their rows)` in place of those that `mask_B` chooses; the rest is free.

    Clips (B, ...) and mask bool (B,) to (B, ...); the rows, int64 (n,), are on the device of `mask_B`.

    >>> clips = torch.arange(3.0).view(3, 1)
    >>> apply_where(clips, torch.tensor([True, False, True]), lambda chosen, rows: -chosen).flatten().tolist()
    [-0.0, 1.0, -2.0]
    """
    rows = mask_B.nonzero()[:, 0]
    if not len(rows):
        return clips
    clip_rows = to_device_of(rows, clips)
    return clips.index_copy(0, clip_rows, operation(clips[clip_rows], rows))
