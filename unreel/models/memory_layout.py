"""The layout of a network's weights in memory, and the networks that are faster with channels last on a CPU.

Which ones is a table, backed by a measurement (benchmarks/layouts.py, docs/performance.md), and not timed at the start
of a run: the layout changes the order of sums, so a choice by timing would make two equal runs differ in their last
bits.
"""

import torch
from torch import nn

CHANNELS_LAST_ON_CPU = frozenset({"tiny"})
"""Names of the backbones that run channels last on a CPU by themselves."""


def move_to_channels_last(network: nn.Module) -> None:
    """Put the weights of 3D convolutions in channels-last order, in place; their values and names stay."""
    for weight in network.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
