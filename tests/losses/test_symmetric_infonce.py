"""InfoNCE in both directions against explicit loops in float64, and the top-1 accuracy."""

import math

import pytest
import torch
from instances import explicit_nt_xent, rows
from torch import Tensor

from unreel.losses.infonce import infonce_loss, infonce_with_intra_negatives, symmetric_infonce, top1_accuracy


def nt_xent(a: Tensor, b: Tensor, tau: float) -> Tensor:
    """Both directions with nobody left out and no broken clips."""
    return symmetric_infonce(a, b, None, torch.ones(len(a), len(a), dtype=torch.bool), tau)[0]


@pytest.mark.parametrize("tau", [0.07, 0.5])
@pytest.mark.parametrize("count", [1, 4])
def test_nt_xent_against_a_double_loop(count: int, tau: float) -> None:
    a, b = rows(0, count), rows(1, count)
    assert nt_xent(a, b, tau).item() == pytest.approx(explicit_nt_xent(a, b, tau), rel=1e-9, abs=1e-15)


def test_gradient_of_nt_xent_is_that_of_finite_differences() -> None:
    leaves = (rows(0, 3).requires_grad_(), rows(1, 3).requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), leaves)


def test_broken_clips_stand_in_a_softmax_of_their_own() -> None:
    scores, broken = rows(3), rows(4)
    both = infonce_with_intra_negatives(scores, broken, 0.1)
    beside = torch.cat([scores[:, :1], broken], dim=1)
    assert both.item() == pytest.approx((infonce_loss(scores, 0.1) + infonce_loss(beside, 0.1)).item(), rel=1e-12)
    assert torch.equal(infonce_with_intra_negatives(scores, None, 0.1), infonce_loss(scores, 0.1))


def test_top1_counts_anchors_and_does_not_praise_a_tie() -> None:
    scores = torch.tensor(
        [[0.5, 0.1, 0.2], [0.1, 0.5, 0.2], [0.3, 0.1, -math.inf], [0.9, 0.8, 0.1]], requires_grad=True
    )
    assert top1_accuracy(scores).item() == 0.75 and not top1_accuracy(scores).requires_grad
    assert top1_accuracy(torch.ones(3, 5)).item() == 0
    assert top1_accuracy(scores, torch.zeros(2, 3)).item() == pytest.approx(3 / 6)
    assert top1_accuracy(torch.zeros(2, 1)).item() == 1
