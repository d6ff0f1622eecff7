"""Instances of two recordings, unit vectors for them, and who may be whose negative, in plain loops."""

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
