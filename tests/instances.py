"""Instances of two recordings, unit vectors for them, who may be whose negative, and NT-Xent, in plain loops."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.types import Instance

# Starts in seconds. In recording 0 instances 0, 1 and 2 are 4 s apart from one to the next.
STARTS = [(0, 0.0), (0, 4.0), (0, 8.0), (1, 0.0), (1, 4.0), (1, 100.0)]
INSTANCES = [Instance(f"{v}.mp4", v, s, s + 4) for v, s in STARTS]


def rows(seed: int, count: int = 4, width: int = 5) -> Tensor:
    made = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(made, dim=1)


def dot(x: Tensor, y: Tensor) -> float:
    return sum(float(p) * float(q) for p, q in zip(x, y, strict=True))


def may(i: int, j: int, near_s: float) -> bool:
    if i == j:
        return False
    if j == -1:
        return True
    return not (near_s and STARTS[i][0] == STARTS[j][0] and abs(STARTS[i][1] - STARTS[j][1]) < near_s)


def explicit_nt_xent(a: Tensor, b: Tensor, tau: float) -> float:
    """SimCLR's equation 1, word for word."""
    clips, total = torch.cat([a, b]), 0.0
    count = len(clips)
    for i in range(count):
        partner = (i + len(a)) % count
        below = sum(math.exp(dot(clips[i], clips[k]) / tau) for k in range(count) if k != i)
        total -= math.log(math.exp(dot(clips[i], clips[partner]) / tau) / below)
    return total / count
