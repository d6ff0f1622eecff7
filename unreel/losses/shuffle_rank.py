"""Series of segment embeddings: their similarity, and the ranking of segments of a clip and its shuffled copy.

Source: Zhang et al. 2021 (arXiv 2107.01194); arithmetic of the release (docs/methods.md).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.similarity import compute_dot_products


def average_segments(series_BSD: Tensor) -> Tensor:
    """Mean of the segment vectors, not of unit length; (B, S, D) to (B, D).

    The dot product of two of these is the mean of all S x S dot products of segments, the similarity of two series in
    the temporally coherent contrast of the paper.

    >>> average_segments(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    tensor([[0.5000, 0.5000]])
    """
    return series_BSD.mean(dim=1)


def shuffle_rank_loss(q_BSD: Tensor, p_BSD: Tensor, theta: float = 0.05, max_exponent: float | None = None) -> Tensor:
    """Each segment must be nearer to its counterpart than to all other segments of both clips; scalar.

    For the 2S vectors v of both clips: mean over v and over the 2S - 2 vectors v- of other segments of
    log(1 + exp((v.v- - v.v+) / theta)).

    Args:
        q_BSD: segment vectors of the clip, of unit length, (B, S, D).
        p_BSD: those of its shuffled copy, put back into order, (B, S, D).
        theta: softness of the margin.
        max_exponent: limit of the exponent, which also removes the gradient of the worst violations; the SimCLR release
            uses 5, None means no limit.

    Raises InputError for one segment.

    >>> q = torch.eye(2)[None]
    >>> f"{shuffle_rank_loss(q, q, theta=1.0):.4f}, {shuffle_rank_loss(q, q.flip(1), theta=1.0):.4f}"
    '0.3133, 1.0032'
    """
    segments = q_BSD.shape[1]
    if segments < 2:
        raise InputError(f"ranking segments needs at least 2 of them, got {segments}; raise --segments")
    v_BVD = torch.cat([q_BSD, p_BSD], dim=1)
    scores_BVV = compute_dot_products(v_BVD, v_BVD)
    segment_V = torch.arange(2 * segments, device=v_BVD.device) % segments
    other_VV = segment_V[:, None] != segment_V
    positive_BV = scores_BVV.diagonal(offset=segments, dim1=1, dim2=2).repeat(1, 2)
    exponent_BVV = (scores_BVV - positive_BV[:, :, None]) / theta
    if max_exponent is not None:
        exponent_BVV = exponent_BVV.clamp(max=max_exponent)
    return -F.logsigmoid(-exponent_BVV[:, other_VV]).mean()


def clip_shuffle_rank_loss(
    clip_BSD: Tensor,
    reaugmented_BSD: Tensor,
    shuffled_BSD: Tensor,
    order_BS: Tensor,
    theta: float = 0.05,
    max_exponent: float | None = None,
) -> Tensor:
    """Mean of the shuffle-rank losses of a clip, and of the clip augmented again, against its shuffled copy; scalar.

    Args:
        clip_BSD, reaugmented_BSD, shuffled_BSD: segment vectors of unit length, (B, S, D).
        order_BS: position s of the shuffled clip shows segment order_BS[b, s]; its vectors are put back into order.
        theta, max_exponent: see `shuffle_rank_loss`.

    >>> clip = torch.eye(2)[None]
    >>> f"{clip_shuffle_rank_loss(clip, clip, clip.flip(1), torch.tensor([[1, 0]]), theta=1.0):.4f}"
    '0.3133'
    """
    inverse_BS1 = order_BS.argsort(dim=1)[:, :, None].to(shuffled_BSD.device)
    ordered_BSD = shuffled_BSD.gather(1, inverse_BS1.expand_as(shuffled_BSD))
    losses = [shuffle_rank_loss(own, ordered_BSD, theta, max_exponent) for own in (clip_BSD, reaugmented_BSD)]
    return (losses[0] + losses[1]) / 2
