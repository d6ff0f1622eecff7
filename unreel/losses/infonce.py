"""Choosing the positive among candidates: scores of a batch, softmax cross-entropy, noise-contrastive estimation.

All losses take scores (B, K) with the positive in column 0. A candidate that must not count has score -inf.
B are the anchors of this process, N the clips of all processes (gather.py, also for how the mean is taken).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.losses.all_gather import all_gather, get_rank_offset


def infonce_loss(scores_BK: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of picking column 0; scalar. With equal scores it is log(K), the chance level.

    Source: van den Oord 2018, eq. 4; Tian 2020 (CMC).
    """
    return -F.log_softmax(scores_BK / temperature, dim=1)[:, 0].mean()


def nce_loss(scores_BK: Tensor, temperature: float, log_z: Tensor, num_rows: int) -> Tensor:
    """Mean binary NCE of telling column 0 (data) from the others (noise drawn uniformly from `num_rows`); scalar.

    The model is p = exp(s / temperature) / Z, the noise density 1 / num_rows; -inf columns are not noise samples.
    Source: Wu 2018, eq. 8 and 9, NCE variant.
    """
    log_p = scores_BK / temperature - log_z
    kept = torch.isfinite(log_p[:, 1:])
    log_noise = (kept.sum(dim=1, keepdim=True) / num_rows).log()
    positive = F.logsigmoid(log_p[:, :1] - log_noise)
    negative = F.logsigmoid(log_noise - log_p[:, 1:].masked_fill(~kept, -math.inf)).masked_fill(~kept, 0.0)
    return -(positive.sum(dim=1) + negative.sum(dim=1)).mean()


def estimate_nce_log_z(scores_BK: Tensor, temperature: float, num_rows: int) -> Tensor:
    """log of the constant Z of `nce_loss`, fixed on the first batch: mean of exp(s / temperature) times rows; scalar.

    In logarithms, since exp of the released, unnormalised scores is beyond any float.
    """
    log_p = scores_BK.detach() / temperature
    kept = torch.isfinite(log_p).sum().to(log_p.dtype)
    return torch.logsumexp(log_p.flatten(), 0) - kept.log() + math.log(num_rows)


def infonce_with_intra_negatives(scores_BK: Tensor, intra_BN: Tensor | None, temperature: float) -> Tensor:
    """Softmax over `scores_BK`, plus one over the positive and the broken clips where there are some; scalar.

    Source: van den Oord 2018, eq. 4; Tao 2020 (the broken clips). A softmax of their own, since they are few beside
    the other instances.
    """
    loss = infonce_loss(scores_BK, temperature)
    if intra_BN is None:
        return loss
    return loss + infonce_loss(torch.cat([scores_BK[:, :1], intra_BN], dim=1), temperature)


def symmetric_infonce(
    a_BD: Tensor, b_BD: Tensor, intra_BD: Tensor | None, allowed_BN: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Two views find each other: the mean of `contrast_loss` over both directions, and the share found at once.

    Without broken clips that is NT-Xent, the mean over the 2B anchors of the cross-entropy of picking the partner among
    the 2N - 1 other clips. Source: Chen et al. 2020 (SimCLR), eq. 1. Rows must have unit length.
    """
    scores, losses = [], []
    for own_BD, other_BD in ((a_BD, b_BD), (b_BD, a_BD)):
        scores.append(score_pairs(own_BD, other_BD, allowed_BN))
        broken_BN = None if intra_BD is None else score_intra_negatives(own_BD, intra_BD, allowed_BN)
        losses.append(infonce_with_intra_negatives(scores[-1], broken_BN, temperature))
    return (losses[0] + losses[1]) / 2, top1_accuracy(*scores)


def score_pairs(a_BD: Tensor, b_BD: Tensor, allowed_BN: Tensor, include_same_view: bool = True) -> Tensor:
    """Dot products of each anchor with its partner (column 0), with the other rows of `b` and of `a`; (B, 2N - 1).

    `a` is left out without `within`: (B, N). Rows that `allowed_BN` (Neighbours.allowed) hides are -inf; the partner
    always counts. Source: Chen et al. 2020 (SimCLR), eq. 1.
    """
    first = get_rank_offset(len(a_BD))
    hidden_BN = ~allowed_BN & ~build_self_mask(allowed_BN)
    across_BN = positive_first(compute_dot_products(a_BD, all_gather(b_BD)).masked_fill(hidden_BN, -math.inf), first)
    if not include_same_view:
        return across_BN
    within_BN = positive_first(compute_dot_products(a_BD, all_gather(a_BD)).masked_fill(hidden_BN, -math.inf), first)
    return torch.cat([across_BN, within_BN[:, 1:]], dim=1)


def score_intra_negatives(a_BD: Tensor, intra_BD: Tensor, allowed_BN: Tensor) -> Tensor:
    """Dot products of each anchor with the broken clips of all processes; (B, N).

    Its own broken copy always counts: it is what the anchor must be told from. Those of its neighbours do not.
    """
    hidden_BN = ~allowed_BN & ~build_self_mask(allowed_BN)
    return compute_dot_products(a_BD, all_gather(intra_BD)).masked_fill(hidden_BN, -math.inf)


def top1_accuracy(*scores_BK: Tensor) -> Tensor:
    """Share of anchors that score their positive above all others; scalar without gradient.

    A tie is not a success: a network that gives every clip the same vector must not look perfect.
    """
    others = [s[:, 1:].amax(dim=1) if s.shape[1] > 1 else torch.full_like(s[:, 0], -math.inf) for s in scores_BK]
    return torch.cat([(s[:, 0] > o).float() for s, o in zip(scores_BK, others, strict=True)]).mean().detach()


def compute_dot_products(a_BD: Tensor, b_ND: Tensor) -> Tensor:
    """Dot products of all rows in float32 at least; (..., B, D) and (..., N, D) to (..., B, N).

    bfloat16 keeps 8 bits: at temperature 0.07 a cosine of 0.9 would be wrong by a factor of 1.03.
    """
    with torch.autocast(a_BD.device.type, enabled=False):
        return promote_to_float32(a_BD) @ promote_to_float32(b_ND).mT


def promote_to_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def positive_first(scores_BN: Tensor, offset: int = 0) -> Tensor:
    """Column `first + b` of row b as column 0, the rest after it in a ring; (B, N)."""
    rows, columns = scores_BN.shape
    row_B1 = torch.arange(rows, device=scores_BN.device)[:, None]
    shift_BN = (offset + row_B1 + torch.arange(columns, device=scores_BN.device)) % columns
    return scores_BN.gather(1, shift_BN)


def build_self_mask(reference_BN: Tensor) -> Tensor:
    """True where a clip of this process meets itself among those of all processes; bool (B, N)."""
    rows, columns = reference_BN.shape
    own_B1 = get_rank_offset(rows) + torch.arange(rows, device=reference_BN.device)[:, None]
    return own_B1 == torch.arange(columns, device=reference_BN.device)
