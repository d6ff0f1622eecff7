"""Scores of a batch: dot products of the anchors of this process with the clips of all processes.

B are the anchors of this process, N the clips of all processes (all_gather.py). Vectors usually have unit length, so
scores are cosines. Column 0 of scores (B, K) is the positive; a candidate that must not count has score -inf.
"""

import math

import torch
from torch import Tensor

from unreel.losses.all_gather import all_gather, get_rank_offset
from unreel.models.precision import promote_to_float32


def compute_dot_products(a_BD: Tensor, b_ND: Tensor) -> Tensor:
    """Dot products of all rows in float32 at least; (..., B, D) and (..., N, D) to (..., B, N).

    bfloat16 keeps 8 bits: at temperature 0.07 a cosine of 0.9 would be wrong by a factor of 1.03.

    >>> compute_dot_products(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 3.],
            [2., 4.]])
    """
    with torch.autocast(a_BD.device.type, enabled=False):
        return promote_to_float32(a_BD) @ promote_to_float32(b_ND).mT


def score_pairs(a_BD: Tensor, b_BD: Tensor, allowed_BN: Tensor, include_same_view: bool = True) -> Tensor:
    """Scores of each anchor with its partner (column 0) and with the other clips of the batch; (B, 2N - 1).

    Args:
        a_BD: one view of each clip, (B, D).
        b_BD: the other view of each clip, (B, D); row b is the partner of anchor b.
        allowed_BN: which clips may be negatives (NegativeMask.build_mask), bool (B, N); the partner always counts.
        include_same_view: also score the other rows of `a`; without them the result is (B, N).

    Source: Chen et al. 2020 (SimCLR), eq. 1.

    >>> views = torch.eye(3)
    >>> score_pairs(views, views, torch.ones(3, 3, dtype=torch.bool))[0]
    tensor([1., 0., 0., 0., 0.])
    """
    offset = get_rank_offset(len(a_BD))
    hidden_BN = ~allowed_BN & ~build_self_mask(allowed_BN)
    across_BN = positive_first(compute_dot_products(a_BD, all_gather(b_BD)).masked_fill(hidden_BN, -math.inf), offset)
    if not include_same_view:
        return across_BN
    within_BN = positive_first(compute_dot_products(a_BD, all_gather(a_BD)).masked_fill(hidden_BN, -math.inf), offset)
    return torch.cat([across_BN, within_BN[:, 1:]], dim=1)


def score_intra_negatives(a_BD: Tensor, intra_BD: Tensor, allowed_BN: Tensor) -> Tensor:
    """Scores of each anchor with the intra-negatives of all processes; (B, D), (B, D) and bool (B, N) to (B, N).

    An anchor's own intra-negative always counts, since the anchor must be told from it; those of its neighbours do not.

    >>> score_intra_negatives(torch.eye(2), torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))
    tensor([[1., -inf],
            [-inf, 1.]])
    """
    hidden_BN = ~allowed_BN & ~build_self_mask(allowed_BN)
    return compute_dot_products(a_BD, all_gather(intra_BD)).masked_fill(hidden_BN, -math.inf)


def positive_first(scores_BN: Tensor, offset: int = 0) -> Tensor:
    """Column `offset + b` of row b as column 0, the following columns after it in a ring; (B, N).

    >>> positive_first(torch.tensor([[0, 1, 2], [0, 1, 2]]), offset=1)
    tensor([[1, 2, 0],
            [2, 0, 1]])
    """
    rows, columns = scores_BN.shape
    row_B1 = torch.arange(rows, device=scores_BN.device)[:, None]
    shift_BN = (offset + row_B1 + torch.arange(columns, device=scores_BN.device)) % columns
    return scores_BN.gather(1, shift_BN)


def build_self_mask(reference_BN: Tensor) -> Tensor:
    """True where a clip of this process meets itself among those of all processes; bool (B, N)."""
    rows, columns = reference_BN.shape
    own_B1 = get_rank_offset(rows) + torch.arange(rows, device=reference_BN.device)[:, None]
    return own_B1 == torch.arange(columns, device=reference_BN.device)
