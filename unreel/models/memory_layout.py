"""The layout of a network's weights in memory, and the networks that are faster with channels last on a CPU.

Which ones is a table, backed by a measurement (benchmarks/layouts.py, docs/performance.md), and not timed at the start
of a run: the layout changes the order of sums, so a choice by timing would make two equal runs differ in their last
bits.
"""

import torch
from torch import nn

CHANNELS_LAST_ON_CPU = frozenset(
    {"tiny", "tiny-2d", "r3d", "r3d18", "r3d50", "r3d101", "r3d152", "r21d", "r21d18", "s3d"}
)
"""Names of the backbones that run channels last on a CPU by themselves; `c3d` is not faster so. r3d101 and r3d152 are
not measured: they have r3d50's blocks."""


def move_to_channels_last(network: nn.Module) -> None:
    """Put the weights of 3D convolutions in channels-last order, in place; their values and names stay."""
    for weight in network.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
