"""A queue of the keys of earlier batches: many negatives without a large batch.

Source: He et al. 2020 (MoCo), section 3.2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.losses.all_gather import all_gather_no_grad
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.similarity import compute_dot_products


class KeyQueue(nn.Module):
    """K keys (K, D), first in first out, and the instance of each; at first random unit vectors with instance -1, none.

    Args:
        size: number of keys K.
        num_features: dimension D of a key.
        seed: of the random keys at the start.
        segments: a random key is the mean of so many unit vectors, as a series of segments is.
        exclude_own: leave keys of the query's own instance, and of its neighbours, out of the negatives.

    >>> from unreel.types import Instance
    >>> queue, mask = KeyQueue(4, 2, seed=0), NegativeMask([Instance("a.mp4", 0, 0.0, 1.0)], near_s=0)
    >>> queue.enqueue(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    >>> queue.score_keys(torch.tensor([[1.0, 0.0]]), mask, torch.tensor([0]))[0, 0]  # not its own key
    tensor(-inf)
    """

    rows: Tensor
    index_K: Tensor
    pointer: Tensor

    def __init__(self, size: int, num_features: int, seed: int, segments: int = 1, exclude_own: bool = True) -> None:
        super().__init__()
        rows_KSD = torch.randn(size, segments, num_features, generator=torch.Generator().manual_seed(seed))
        self.exclude_own = exclude_own
        self.register_buffer("rows", F.normalize(rows_KSD, dim=2).mean(dim=1))
        self.register_buffer("index_K", torch.full((size,), -1))
        self.register_buffer("pointer", torch.tensor(0))

    def score_positive_and_keys(
        self, q_BD: Tensor, k_BD: Tensor, negative_mask: NegativeMask, index_B: Tensor
    ) -> Tensor:
        """Scores of each query (B, D) with its own key (B, D), column 0, and with the queue; (B, 1 + K)."""
        own_B1 = (q_BD * k_BD).sum(dim=1, keepdim=True)
        return torch.cat([own_B1, self.score_keys(q_BD, negative_mask, index_B)], dim=1)

    def score_keys(self, q_BD: Tensor, negative_mask: NegativeMask, index_B: Tensor) -> Tensor:
        """Scores of queries (B, D) with all keys, -inf for keys of the same instance or its neighbours; (B, K)."""
        rows_KD = self.rows.clone()  # so that `enqueue` before `backward` does not change the graph
        if not self.exclude_own:
            return compute_dot_products(q_BD, rows_KD)
        allowed_BK = negative_mask.build_mask(index_B, self.index_K)
        return compute_dot_products(q_BD, rows_KD).masked_fill(~allowed_BK, -math.inf)

    @torch.no_grad()
    def enqueue(self, keys_BD: Tensor, index_B: Tensor) -> None:
        """Replace the oldest keys by those of all processes, keys (B, D) of instances (B,); equal on every process.

        The batch may be shorter (after unreadable files), but not longer than the queue: raises InputError.
        """
        keys_ND, index_N = all_gather_no_grad(keys_BD), all_gather_no_grad(index_B)
        size = len(self.rows)
        if len(keys_ND) > size:
            raise InputError(
                f"a queue of {size} keys can't take a batch of {len(keys_ND)}; raise --queue-size or lower --batch-size"
            )
        position_N = (self.pointer + torch.arange(len(keys_ND), device=self.rows.device)) % size
        self.rows[position_N] = keys_ND.to(self.rows.dtype)
        self.index_K[position_N] = index_N
        self.pointer.copy_((self.pointer + len(keys_ND)) % size)
