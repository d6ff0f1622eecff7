"""Which instances may be negatives of each other: not the instance itself, and optionally not its neighbours in time.

Consecutive segments of one recording look nearly the same; pushing them apart teaches nothing.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from unreel.losses.all_gather import all_gather_no_grad
from unreel.rows.instance_rows import InstanceRows
from unreel.types import Instance


class NegativeMask(nn.Module):
    """Recording and start of all N instances; those that begin within `near_s` seconds in one recording are neighbours.

    Nothing is stored in a checkpoint, since the list of instances of the run contains it all.

    Args:
        instances: all N instances of the run, in the order of its rows.
        near_s: seconds; 0 means that no instance has neighbours.

    >>> segments = [Instance("a.mp4", 0, start_s, start_s + 10) for start_s in (0.0, 10.0, 20.0)]
    >>> NegativeMask(segments, near_s=15).build_mask(torch.tensor([0]), torch.tensor([0, 1, 2]))
    tensor([[False, False,  True]])
    """

    video_N: Tensor
    start_s_N: Tensor

    def __init__(self, instances: Sequence[Instance], near_s: float) -> None:
        super().__init__()
        self.near_s = near_s
        rows = InstanceRows.from_instances(instances if near_s > 0 else ())  # without a distance nobody asks
        video_N = torch.as_tensor(rows.video_N.astype(np.int64))
        start_s_N = torch.as_tensor(rows.recording_start_s_N.astype(np.float32))  # MPS: no float64
        self.register_buffer("video_N", video_N, persistent=False)
        self.register_buffer("start_s_N", start_s_N, persistent=False)

    def build_batch_mask(self, index_B: Tensor) -> Tensor:
        """`build_mask` of the instances (B,) of this process against the batch of all processes; bool (B, N)."""
        return self.build_mask(index_B, all_gather_no_grad(index_B))

    def build_mask(self, index_B: Tensor, candidates: Tensor) -> Tensor:
        """Whether each candidate may be a negative of the anchor; bool (B, K).

        Args:
            index_B: rows of the anchors in the run, (B,).
            candidates: rows of the candidates, (K,) or (B, K); -1: no instance, always allowed.
        """
        own_B1 = index_B[:, None]
        candidates_BK = candidates.expand(len(index_B), -1)
        hidden_BK = candidates_BK == own_B1
        if self.near_s > 0:
            row_BK = candidates_BK.clamp(min=0)
            same_video_BK = self.video_N[row_BK] == self.video_N[own_B1]
            distance_s_BK = (self.start_s_N[row_BK] - self.start_s_N[own_B1]).abs()
            hidden_BK = hidden_BK | (same_video_BK & (distance_s_BK < self.near_s) & (candidates_BK >= 0))
        return ~hidden_BK
