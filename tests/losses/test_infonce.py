"""InfoNCE against explicit loops in float64, and against the numbers of IIC's release."""

import math

import pytest
import torch

from unreel.losses.infonce import infonce_loss
from unreel.losses.memory_bank import MemoryBank
from unreel.losses.nce import estimate_nce_log_z, nce_loss

TAU = 0.07


def scores(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 4


def masked(scores_BK: torch.Tensor) -> torch.Tensor:
    """Some candidates left out; never the positive."""
    out = scores_BK.clone()
    out[0, 2] = out[0, 5] = out[2, 1] = -math.inf
    return out


def explicit_softmax(scores_BK: torch.Tensor, temperature: float) -> float:
    total = 0.0
    for row in scores_BK.tolist():
        denominator = 0.0
        for score in row:
            if score != -math.inf:
                denominator += math.exp(score / temperature)
        total += -math.log(math.exp(row[0] / temperature) / denominator)
    return total / len(scores_BK)


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_softmax_against_a_double_loop(hide: bool, temperature: float) -> None:
    s = masked(scores(4, 9)) if hide else scores(4, 9)
    assert infonce_loss(s, temperature).item() == pytest.approx(explicit_softmax(s, temperature), rel=1e-12)


@pytest.mark.parametrize("which", ["softmax", "nce"])
def test_gradients_are_those_of_finite_differences_and_zero_where_hidden(which: str) -> None:
    s = masked(scores(4, 9))
    z = estimate_nce_log_z(s, TAU, 50)
    kept = torch.isfinite(s)

    def loss(values: torch.Tensor) -> torch.Tensor:
        full = torch.full_like(s, -math.inf).masked_scatter(kept, values)
        return infonce_loss(full, TAU) if which == "softmax" else nce_loss(full, TAU, z, 50)

    assert torch.autograd.gradcheck(loss, (s[kept].clone().requires_grad_(),))
    leaf = s.clone().requires_grad_()
    (infonce_loss(leaf, TAU) if which == "softmax" else nce_loss(leaf, TAU, z, 50)).backward()
    assert leaf.grad is not None and (leaf.grad[~kept] == 0).all() and torch.isfinite(leaf.grad).all()
    assert (leaf.grad[:, 0] < 0).all() and (leaf.grad[:, 1:][kept[:, 1:]] > 0).all()


@pytest.mark.parametrize("which", ["softmax", "nce"])
def test_an_anchor_without_negatives_costs_nothing(which: str) -> None:
    s = torch.tensor([[0.3, -math.inf, -math.inf]], requires_grad=True)
    loss = infonce_loss(s, TAU) if which == "softmax" else nce_loss(s, TAU, torch.tensor(5.0), 10)
    loss.backward()
    assert loss.item() == 0 and s.grad is not None and torch.isfinite(s.grad).all()


@pytest.mark.parametrize(("columns", "loss"), [(2 * 1024 + 2, 15.2512), (1024 + 1, 13.8649)])
def test_zero_features_give_the_chance_level(columns: int, loss: float) -> None:
    bank = MemoryBank(300, 512, seed=0)
    drawn = torch.randint(300, (8, columns), generator=torch.Generator().manual_seed(0))
    total = sum(infonce_loss(bank.score_rows(torch.zeros(8, 512), drawn), TAU) for _ in range(2))
    assert float(total) == pytest.approx(2 * math.log(columns), abs=1e-5)
    assert round(float(total), 4) == loss
