"""VICReg: two views agree, every dimension keeps its variance, and dimensions are decorrelated. No negatives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.all_gather import all_gather
from unreel.losses.similarity import compute_dot_products
from unreel.models.precision import promote_to_float32


def vicreg_loss(
    a_BD: Tensor, b_BD: Tensor, invariance: float = 25, variance: float = 25, covariance: float = 1
) -> Tensor:
    """Weighted sum of the mean squared difference of two views, their variance hinge and covariance penalty; scalar.

    The statistics, and so the loss, are those of the joined batch of all processes.

    Args:
        a_BD, b_BD: embeddings of the two views, (B, D), not normalised.
        invariance, variance, covariance: weights of the three terms.

    Raises InputError for a batch of one clip. Source: Bardes 2022 (VICReg), section 4, with the scales of the release
    (facebookresearch/vicreg): the mean over D in the first term and over the two views in the second.

    >>> views = 2 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> vicreg_loss(views, views)
    tensor(0.)
    """
    a_ND, b_ND = all_gather(promote_to_float32(a_BD)), all_gather(promote_to_float32(b_BD))
    if len(a_ND) < 2:
        raise InputError("VICReg compares the clips of a batch and got a batch of 1; raise --batch-size")
    difference = F.mse_loss(a_ND, b_ND)
    hinge = torch.stack([variance_hinge(z) for z in (a_ND, b_ND)]).mean()
    penalty = torch.stack([covariance_penalty(z) for z in (a_ND, b_ND)]).sum()
    return invariance * difference + variance * hinge + covariance * penalty


def variance_hinge(z_ND: Tensor) -> Tensor:
    """Mean over dimensions of max(0, 1 - standard deviation over the batch); (N, D) to scalar.

    >>> f"{variance_hinge(torch.ones(4, 2)):.2f}"
    '0.99'
    """
    return F.relu(1 - (z_ND.var(dim=0) + 1e-4).sqrt()).mean()


def covariance_penalty(z_ND: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions, divided by D; (N, D) to scalar.

    >>> covariance_penalty(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    tensor(4.)
    """
    rows, count = z_ND.shape
    centred_ND = z_ND - z_ND.mean(dim=0)
    covariance_DD = compute_dot_products(centred_ND.T, centred_ND.T) / (rows - 1)
    off_diagonal = ~torch.eye(count, dtype=torch.bool, device=z_ND.device)
    return (covariance_DD.square() * off_diagonal).sum() / count
