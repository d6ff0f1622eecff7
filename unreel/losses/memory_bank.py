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
        """rows[i] <- normalise(momentum * rows[i] + (1 - momentum) * feature), for rows (B,) and features (B, D)."""
        mixed_BD = momentum * self.rows[index_B] + (1 - momentum) * features_BD
        self.rows[index_B] = F.normalize(mixed_BD, dim=1)
