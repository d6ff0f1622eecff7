"""The loss of BYOL against a loop."""

import pytest
import torch
from torch import Tensor

from unreel.losses.byol import byol_loss


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_byol_loss_against_a_loop() -> None:
    p, z = made(4, 5) * 3, made(4, 5, seed=1)
    cosines = [float(p[i] @ z[i]) / (float(p[i].norm()) * float(z[i].norm())) for i in range(4)]
    assert byol_loss(p, z).item() == pytest.approx(sum(2 - 2 * c for c in cosines) / 4, rel=1e-12)
    assert byol_loss(p, 2 * p).item() == pytest.approx(0, abs=1e-12)
    assert byol_loss(p, -p).item() == pytest.approx(4, rel=1e-12)


def test_the_target_of_byol_gets_no_gradient() -> None:
    p, z = made(4, 5).requires_grad_(), made(4, 5, seed=1).requires_grad_()
    byol_loss(p, z).backward()
    assert p.grad is not None and p.grad.abs().sum() > 0 and z.grad is None
