"""Choosing the positive among candidates: softmax cross-entropy and noise-contrastive estimation.

All functions take scores (B, K) with the positive in column 0. A candidate that must not count has score -inf.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_loss(scores_BK: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of picking column 0; scalar. With equal scores it is log(K), the chance level.

    Source: van den Oord 2018, eq. 4; Tian 2020 (CMC).
    """
    return -F.log_softmax(scores_BK / temperature, dim=1)[:, 0].mean()


def nce_loss(scores_BK: Tensor, temperature: float, log_z: Tensor, num_rows: int) -> Tensor:
    """Mean binary NCE of telling column 0 (data) from the others (noise drawn uniformly from `num_rows`); scalar.

    The model is p = exp(s / temperature) / Z, the noise density 1 / num_rows; -inf columns are not noise samples.
    Source: Wu 2018, eq. 8 and 9; METHODS 1.4, NCE variant.
    """
    log_p = scores_BK / temperature - log_z
    kept = torch.isfinite(log_p[:, 1:])
    log_noise = (kept.sum(dim=1, keepdim=True) / num_rows).log()
    positive = F.logsigmoid(log_p[:, :1] - log_noise)
    negative = F.logsigmoid(log_noise - log_p[:, 1:].masked_fill(~kept, -math.inf)).masked_fill(~kept, 0.0)
    return -(positive.sum(dim=1) + negative.sum(dim=1)).mean()


def nce_log_constant(scores_BK: Tensor, temperature: float, num_rows: int) -> Tensor:
    """log of the constant Z of `nce_loss`, fixed on the first batch: mean of exp(s / temperature) times rows; scalar.

    In logarithms, since exp of the released, unnormalised scores is beyond any float.
    """
    log_p = scores_BK.detach() / temperature
    kept = torch.isfinite(log_p).sum().to(log_p.dtype)
    return torch.logsumexp(log_p.flatten(), 0) - kept.log() + math.log(num_rows)
