"""Losses of two views that must agree, without negatives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.all_gather import all_gather
from unreel.losses.infonce import compute_dot_products, promote_to_float32


def byol_loss(p_BD: Tensor, z_BD: Tensor) -> Tensor:
    """Mean of 2 - 2 cos(prediction, target); scalar in [0, 4]. The target gets no gradient.

    Source: Grill et al. 2020 (BYOL), eq. 2.
    """
    p_BD, z_BD = promote_to_float32(p_BD), promote_to_float32(z_BD.detach())
    return (2 - 2 * (F.normalize(p_BD, dim=1) * F.normalize(z_BD, dim=1)).sum(dim=1)).mean()


def vicreg_loss(
    a_BD: Tensor, b_BD: Tensor, invariance: float = 25, variance: float = 25, covariance: float = 1
) -> Tensor:
    """Views agree (mean squared difference), each number varies, no two numbers say the same; scalar.

    Statistics are those of the joined batch of all processes, and so is the loss: equal on all of them. Raises
    InputError for a batch of one clip. Source: Bardes 2022 (VICReg), section 4, with the scales of the release
    (facebookresearch/vicreg): the mean over D in the first term and over the two views in the second.
    """
    a_ND, b_ND = all_gather(promote_to_float32(a_BD)), all_gather(promote_to_float32(b_BD))
    if len(a_ND) < 2:
        raise InputError("VICReg compares the clips of a batch and got a batch of 1; raise --batch-size")
    agree = F.mse_loss(a_ND, b_ND)
    vary = torch.stack([variance_hinge(z) for z in (a_ND, b_ND)]).mean()
    repeat = torch.stack([covariance_penalty(z) for z in (a_ND, b_ND)]).sum()
    return invariance * agree + variance * vary + covariance * repeat


def variance_hinge(z_ND: Tensor) -> Tensor:
    """How far the standard deviation of each number stays below 1, on average; scalar."""
    return F.relu(1 - (z_ND.var(dim=0) + 1e-4).sqrt()).mean()


def covariance_penalty(z_ND: Tensor) -> Tensor:
    """Sum of the squared covariances of different numbers, divided by their count D; scalar."""
    rows, count = z_ND.shape
    centred_ND = z_ND - z_ND.mean(dim=0)
    covariance_DD = compute_dot_products(centred_ND.T, centred_ND.T) / (rows - 1)
    off_diagonal = ~torch.eye(count, dtype=torch.bool, device=z_ND.device)
    return (covariance_DD.square() * off_diagonal).sum() / count
