"""The memory of a network on a CPU: the layout of its weights, and what becomes of freed memory.

Which networks are faster with channels last is a table, backed by a measurement (benchmarks/layouts.py,
docs/performance.md), and not timed at the start of a run: the layout changes the order of sums, so a choice by timing
would make two equal runs differ in their last bits.
"""

import ctypes
import functools
import sys

import torch
from torch import nn

CHANNELS_LAST_ON_CPU = frozenset(
    {"tiny", "tiny-2d", "small", "small-2d", "r3d", "r3d18", "r3d50", "r3d101", "r3d152", "r21d", "r21d18", "s3d"}
)
"""Names of the backbones that run channels last on a CPU by themselves; `c3d` is not faster so. r3d101 and r3d152 are
not measured: they have r3d50's blocks."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, MAX_CHUNK_BYTES = 512 * 2**20, 32 * 2**20  # glibc takes no larger second one


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep up to 512 MB of freed memory for the next tensor, in this process; whether it can (glibc).

    By itself it gives pages back to the system after each map of some MB, and takes them again, filled with zeros, for
    the next. With an image model that cost as much time as its sums; trainings gain nothing (docs/performance.md).
    Values do not change.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(M_MMAP_THRESHOLD, MAX_CHUNK_BYTES))


def move_to_channels_last(network: nn.Module) -> None:
    """Put the weights of 3D convolutions in channels-last order, in place; their values and names stay."""
    for weight in network.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
