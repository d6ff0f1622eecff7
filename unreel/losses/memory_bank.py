"""A memory bank: one running embedding for every instance of the run.

Source: Wu 2018, section 3.3 (the update); Tian 2020 (initialisation).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Up to this many rows one product with the whole bank is faster than gathering B x K rows.
MAX_DENSE_ROWS = 65_536


class MemoryBank(nn.Module):
    """N rows of D numbers, initialised U(-sqrt(3/D), sqrt(3/D)) so that a row has unit norm on average.

    Args:
        num_rows: instances of the run, N.
        num_features: numbers per row, D.
        seed: of the initialisation.

    >>> bank = MemoryBank(3, 2, seed=0)
    >>> bank.update(torch.tensor([1]), torch.tensor([[0.0, 5.0]]), momentum=0.0)
    >>> bank.score_rows(torch.tensor([[0.6, 0.8]]), torch.tensor([[1]]))
    tensor([[0.8000]])
    """

    rows: Tensor

    def __init__(self, num_rows: int, num_features: int, seed: int) -> None:
        super().__init__()
        bound = math.sqrt(3 / num_features)
        rows_ND = torch.rand(num_rows, num_features, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("rows", rows_ND * (2 * bound) - bound)

    def score_rows(self, anchors_BD: Tensor, index_BK: Tensor) -> Tensor:
        """Dot products of each anchor (B, D) with its own K rows (B, K); (B, K). Only the anchors get gradient."""
        if len(self.rows) <= MAX_DENSE_ROWS:
            return (anchors_BD @ self.rows.T).gather(1, index_BK)
        return torch.einsum("bd,bkd->bk", anchors_BD, self.rows[index_BK])

    @torch.no_grad()
    def update(self, index_B: Tensor, features_BD: Tensor, momentum: float) -> None:
        """rows[i] <- normalise(momentum * rows[i] + (1 - momentum) * feature), for rows (B,) and features (B, D).

        Features of the same row, of several draws of a video, are averaged first: the row is updated once, whatever
        their order.
        """
        mixed_BD = momentum * self.rows[index_B] + (1 - momentum) * average_by_index(features_BD, index_B)
        self.rows[index_B] = F.normalize(mixed_BD, dim=1)


def average_by_index(features_BD: Tensor, index_B: Tensor) -> Tensor:
    """Each row of features (B, D) replaced by the mean of all rows of its index (B,); a single one stays as it is.

    The shapes do not depend on the indices, so nothing waits for a GPU.

    >>> average_by_index(torch.tensor([[1.0], [5.0], [3.0]]), torch.tensor([7, 0, 7])).flatten()
    tensor([2., 5., 2.])
    """
    is_same_BB = index_B[:, None] == index_B
    first_B = is_same_BB.int().argmax(dim=1)
    sums_BD = torch.zeros_like(features_BD).index_add_(0, first_B, features_BD)
    return sums_BD[first_B] / is_same_BB.sum(dim=1, keepdim=True)
