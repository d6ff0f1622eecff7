"""BYOL: the prediction of one view must agree with the teacher's embedding of the other."""

import torch.nn.functional as F
from torch import Tensor

from unreel.models.precision import promote_to_float32


def byol_loss(p_BD: Tensor, z_BD: Tensor) -> Tensor:
    """Mean of 2 - 2 cos(prediction, target); scalar in [0, 4]. The target gets no gradient.

    Args:
        p_BD: predictions of the student, (B, D).
        z_BD: targets from the teacher, (B, D).

    Source: Grill et al. 2020 (BYOL), eq. 2.

    >>> import torch
    >>> byol_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
    tensor(2.)
    """
    p_BD, z_BD = promote_to_float32(p_BD), promote_to_float32(z_BD.detach())
    return (2 - 2 * (F.normalize(p_BD, dim=1) * F.normalize(z_BD, dim=1)).sum(dim=1)).mean()
