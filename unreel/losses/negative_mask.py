"""Who must not be a negative of whom: an instance is none of its own, nor need its neighbours in time be.

Segments of one recording that follow each other show nearly the same thing; pushing them apart teaches nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unreel.types import Instance


class NegativeMask(nn.Module):
    """Recording and start of all N instances; those that begin within `near_s` seconds in one recording are neighbours.

    `near_s` 0: nobody has neighbours. Nothing is stored in a checkpoint, since the run's list of instances says it all.
    """

    video_N: Tensor
    start_s_N: Tensor

    def __init__(self, instances: Sequence[Instance], near_s: float) -> None:
        super().__init__()
        self.near_s = near_s
        video_N = torch.tensor([i.video for i in instances], dtype=torch.int64)
        start_s_N = torch.tensor([i.offset_s + i.start_s for i in instances], dtype=torch.float32)  # MPS: no float64
        self.register_buffer("video_N", video_N, persistent=False)
        self.register_buffer("start_s_N", start_s_N, persistent=False)

    def build_mask(self, index_B: Tensor, candidates: Tensor) -> Tensor:
        """Whether each of `others`, (K,) or (B, K), may be a negative of the anchor; bool (B, K).

        All are rows of the run; -1 in `others` is nobody, and may.
        """
        own_B1 = index_B[:, None]
        others_BK = candidates.expand(len(index_B), -1)
        hidden_BK = others_BK == own_B1
        if self.near_s > 0:
            row_BK = others_BK.clamp(min=0)
            same_BK = self.video_N[row_BK] == self.video_N[own_B1]
            apart_BK = (self.start_s_N[row_BK] - self.start_s_N[own_B1]).abs()
            hidden_BK = hidden_BK | (same_BK & (apart_BK < self.near_s) & (others_BK >= 0))
        return ~hidden_BK
