"""InfoNCE: softmax cross-entropy of choosing the positive among candidates.

Scores (B, K) have the positive in column 0; a candidate that must not count has score -inf (similarity.py).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.losses.similarity import score_intra_negatives, score_pairs


def infonce_loss(scores_BK: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of choosing column 0; scalar. With equal scores it is log(K), the chance level.

    Args:
        scores_BK: similarities with the positive (column 0) and the negatives, (B, K).
        temperature: divides the scores; a smaller one weights the nearest negatives more.

    Source: van den Oord 2018, eq. 4; Tian 2020 (CMC).

    >>> f"{infonce_loss(torch.zeros(4, 8), temperature=0.07):.4f}, {math.log(8):.4f}"
    '2.0794, 2.0794'
    """
    return -F.log_softmax(scores_BK / temperature, dim=1)[:, 0].mean()


def infonce_with_intra_negatives(scores_BK: Tensor, intra_BN: Tensor | None, temperature: float) -> Tensor:
    """InfoNCE of `scores_BK`, plus one of the positive against the intra-negatives if there are any; scalar.

    They have a softmax of their own because they are few compared with the other instances.

    Args:
        scores_BK: similarities with the positive (column 0) and other instances, (B, K).
        intra_BN: similarities with the intra-negatives, (B, N), or None.
        temperature: divides the scores.

    Source: van den Oord 2018, eq. 4; Tao 2020 (the intra-negatives).

    >>> f"{infonce_with_intra_negatives(torch.zeros(4, 8), torch.zeros(4, 1), temperature=0.07):.4f}"
    '2.7726'
    """
    loss = infonce_loss(scores_BK, temperature)
    if intra_BN is None:
        return loss
    return loss + infonce_loss(torch.cat([scores_BK[:, :1], intra_BN], dim=1), temperature)


def symmetric_infonce(
    a_BD: Tensor, b_BD: Tensor, intra_BD: Tensor | None, allowed_BN: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """InfoNCE from each of two views to the other, averaged over both directions, and the top-1 accuracy.

    Without intra-negatives this is NT-Xent, the mean over the 2B anchors of the cross-entropy of choosing the partner
    among the 2N - 1 other clips.

    Args:
        a_BD, b_BD: embeddings of the two views, of unit length, (B, D); row b of one is the partner of row b of the
            other.
        intra_BD: embeddings of the intra-negatives, (B, D), or None.
        allowed_BN: which clips may be negatives (NegativeMask.build_mask), bool (B, N).
        temperature: divides the scores.

    Source: Chen et al. 2020 (SimCLR), eq. 1.

    >>> views = torch.eye(4)
    >>> loss, top1 = symmetric_infonce(views, views, None, torch.ones(4, 4, dtype=torch.bool), temperature=0.1)
    >>> f"{loss:.4f} {top1:.1f}"
    '0.0003 1.0'
    """
    scores, losses = [], []
    for anchor_BD, partner_BD in ((a_BD, b_BD), (b_BD, a_BD)):
        scores.append(score_pairs(anchor_BD, partner_BD, allowed_BN))
        intra_BN = None if intra_BD is None else score_intra_negatives(anchor_BD, intra_BD, allowed_BN)
        losses.append(infonce_with_intra_negatives(scores[-1], intra_BN, temperature))
    return (losses[0] + losses[1]) / 2, top1_accuracy(*scores)


def top1_accuracy(*scores_BK: Tensor) -> Tensor:
    """Share of anchors that score their positive (column 0) above all others; scalar without gradient.

    A tie is not a success: a network that gives every clip the same vector must not look perfect.

    >>> top1_accuracy(torch.tensor([[2.0, 1.0], [1.0, 1.0]]))
    tensor(0.5000)
    """
    others = [s[:, 1:].amax(dim=1) if s.shape[1] > 1 else torch.full_like(s[:, 0], -math.inf) for s in scores_BK]
    return torch.cat([(s[:, 0] > o).float() for s, o in zip(scores_BK, others, strict=True)]).mean().detach()
