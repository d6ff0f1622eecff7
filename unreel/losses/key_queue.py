"""A queue of the keys of earlier batches: many negatives without a large batch.

Source: He et al. 2020 (MoCo), section 3.2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.losses.all_gather import all_gather_no_grad
from unreel.losses.infonce import compute_dot_products
from unreel.losses.negative_mask import NegativeMask


class KeyQueue(nn.Module):
    """K keys of D numbers, first in first out, and whose they are; random unit vectors of nobody (-1) at first."""

    rows: Tensor
    index_K: Tensor
    pointer: Tensor

    def __init__(self, size: int, num_features: int, seed: int) -> None:
        super().__init__()
        rows_KD = torch.randn(size, num_features, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("rows", F.normalize(rows_KD, dim=1))
        self.register_buffer("index_K", torch.full((size,), -1))
        self.register_buffer("pointer", torch.tensor(0))

    def score_keys(self, q_BD: Tensor, negative_mask: NegativeMask, index_B: Tensor) -> Tensor:
        """Dot products with all keys, -inf for keys of the same instance or of its neighbours; (B, K)."""
        rows_KD = self.rows.clone()  # a push before `backward` must not change what the graph has seen
        allowed_BK = negative_mask.build_mask(index_B, self.index_K)
        return compute_dot_products(q_BD, rows_KD).masked_fill(~allowed_BK, -math.inf)

    @torch.no_grad()
    def enqueue(self, keys_BD: Tensor, index_B: Tensor) -> None:
        """The keys of all processes in place of the oldest, the same on every process.

        A short batch (a file that could not be read) is as welcome as a full one. Raises InputError beyond the size.
        """
        keys_ND, index_N = all_gather_no_grad(keys_BD), all_gather_no_grad(index_B)
        size = len(self.rows)
        if len(keys_ND) > size:
            raise InputError(
                f"a queue of {size} keys can't take a batch of {len(keys_ND)}; raise --queue-size or lower --batch-size"
            )
        place_N = (self.pointer + torch.arange(len(keys_ND), device=self.rows.device)) % size
        self.rows[place_N] = keys_ND.to(self.rows.dtype)
        self.index_K[place_N] = index_N
        self.pointer.copy_((self.pointer + len(keys_ND)) % size)
