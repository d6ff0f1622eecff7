"""Binary noise-contrastive estimation over a memory bank, an alternative to InfoNCE.

Source: Wu 2018, eq. 8 and 9. Scores (B, K) have the positive in column 0.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def nce_loss(scores_BK: Tensor, temperature: float, log_z: Tensor, num_rows: int) -> Tensor:
    """Mean binary NCE of telling column 0 (data) from the others (noise drawn uniformly from `num_rows`); scalar.

    The model is p = exp(s / temperature) / Z, the noise density 1 / num_rows.

    Args:
        scores_BK: similarities with the positive (column 0) and the noise samples, (B, K); -inf marks no sample.
        temperature: divides the scores.
        log_z: log of the constant Z (`estimate_nce_log_z`), scalar.
        num_rows: rows of the memory bank that the noise is drawn from.

    >>> f"{nce_loss(torch.zeros(1, 2), 0.07, torch.tensor(10.0).log(), num_rows=10):.4f}, {2 * math.log(2):.4f}"
    '1.3863, 1.3863'
    """
    log_p = scores_BK / temperature - log_z
    valid = torch.isfinite(log_p[:, 1:])
    log_noise = (valid.sum(dim=1, keepdim=True) / num_rows).log()
    positive = F.logsigmoid(log_p[:, :1] - log_noise)
    negative = F.logsigmoid(log_noise - log_p[:, 1:].masked_fill(~valid, -math.inf)).masked_fill(~valid, 0.0)
    return -(positive.sum(dim=1) + negative.sum(dim=1)).mean()


def estimate_nce_log_z(scores_BK: Tensor, temperature: float, num_rows: int) -> Tensor:
    """log of the constant Z of `nce_loss`, from the scores of the first batch: mean of exp(s / temperature) times rows.

    Computed in logarithms, since exp of the released, unnormalised scores overflows. Scores (B, K) to a scalar without
    gradient; -inf marks no sample.

    >>> f"{estimate_nce_log_z(torch.zeros(4, 8), 0.07, num_rows=100).exp():.0f}"
    '100'
    """
    log_p = scores_BK.detach() / temperature
    count = torch.isfinite(log_p).sum().to(log_p.dtype)
    return torch.logsumexp(log_p.flatten(), 0) - count.log() + math.log(num_rows)
