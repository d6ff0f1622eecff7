"""The loss of VICReg against loops."""

import math

import pytest
import torch
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.vicreg import vicreg_loss


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def explicit_vicreg(views: tuple[Tensor, Tensor], weights: tuple[float, float, float]) -> float:
    a, b = views
    n, width = a.shape
    agree = sum((float(a[i, d]) - float(b[i, d])) ** 2 for i in range(n) for d in range(width)) / (n * width)
    vary = repeat = 0.0
    for z in views:
        means = [sum(z[:, d].tolist()) / n for d in range(width)]
        for d in range(width):
            for e in range(width):
                terms = [(float(z[i, d]) - means[d]) * (float(z[i, e]) - means[e]) for i in range(n)]
                cov = sum(terms) / (n - 1)
                if d == e:
                    vary += max(0.0, 1 - math.sqrt(cov + 1e-4)) / width / 2
                else:
                    repeat += cov**2 / width
    return weights[0] * agree + weights[1] * vary + weights[2] * repeat


@pytest.mark.parametrize("weights", [(25, 25, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_vicreg_against_loops(weights: tuple[float, float, float]) -> None:
    views = (made(7, 4) * torch.tensor([0.1, 0.5, 1.0, 3.0]), made(7, 4, seed=1))
    assert vicreg_loss(*views, *weights).item() == pytest.approx(explicit_vicreg(views, weights), rel=1e-12)


def test_vicreg_punishes_collapse_and_not_what_it_wants() -> None:
    constant = torch.ones(8, 4)
    assert vicreg_loss(constant, constant).item() == pytest.approx(25 * (1 - 0.01), rel=1e-5)
    wanted = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * 2
    assert vicreg_loss(wanted, wanted).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="batch of 1"):
        vicreg_loss(constant[:1], constant[:1])


def test_gradient_of_vicreg_is_that_of_finite_differences() -> None:
    leaves = ((made(5, 3) / 2).requires_grad_(), (made(5, 3, seed=1) / 2).requires_grad_())
    assert torch.autograd.gradcheck(vicreg_loss, leaves)
