"""Ranking of segments and losses without negatives, against explicit loops and the numbers of docs/methods.md."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.byol import byol_loss
from unreel.losses.shuffle_rank import average_segments, shuffle_rank_loss
from unreel.losses.vicreg import vicreg_loss


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def series(clips: int, segments: int, width: int = 6, seed: int = 0) -> Tensor:
    return F.normalize(made(clips, segments, width, seed=seed), dim=2)


def explicit_rank(q: Tensor, p: Tensor, theta: float, limit: float = math.inf) -> float:
    terms = []
    for b in range(len(q)):
        for mine, counterpart in ((q[b], p[b]), (p[b], q[b])):
            for s in range(len(mine)):
                positive = float(mine[s] @ counterpart[s])
                for t in range(len(mine)):
                    for other in (mine, counterpart):
                        if t != s:
                            terms.append(
                                math.log1p(math.exp(min(limit, (float(mine[s] @ other[t]) - positive) / theta)))
                            )
    return sum(terms) / len(terms)


@pytest.mark.parametrize("segments", [2, 3, 4])
@pytest.mark.parametrize("limit", [None, 5.0])
def test_rank_loss_against_nested_loops(segments: int, limit: float | None) -> None:
    q, p = series(3, segments), series(3, segments, seed=1)
    expected = explicit_rank(q, p, 0.05, math.inf if limit is None else limit)
    assert shuffle_rank_loss(q, p, 0.05, limit).item() == pytest.approx(expected, rel=1e-12)
    assert (shuffle_rank_loss(q, p) > shuffle_rank_loss(q, p, max_exponent=5)).item()


def test_rank_loss_of_orthogonal_segments_and_of_equal_ones() -> None:
    orthogonal = torch.eye(4, dtype=torch.float64)[None, :2]
    assert shuffle_rank_loss(orthogonal, orthogonal).item() == pytest.approx(math.log1p(math.exp(-20)), rel=1e-9)
    equal = torch.ones(2, 4, 3, dtype=torch.float64)
    assert shuffle_rank_loss(equal, equal).item() == pytest.approx(math.log(2), rel=1e-12)


def test_rank_loss_wants_the_order_back() -> None:
    """A shuffled clip put back into order costs nothing; left as it is, it costs much."""
    q, order = torch.eye(4)[None], torch.tensor([[2, 0, 3, 1]])
    shuffled = q.gather(1, order[:, :, None].expand_as(q))
    back = shuffled.gather(1, order.argsort(dim=1)[:, :, None].expand_as(q))
    assert shuffle_rank_loss(q, back) < 1e-8 and shuffle_rank_loss(q, shuffled) > 1


def test_rank_loss_of_any_size_is_finite_and_its_gradient_right() -> None:
    big = torch.tensor([[[300.0, 0.0], [0.0, -300.0]]], requires_grad=True)
    loss = shuffle_rank_loss(big, -big)
    loss.backward()
    assert loss.isfinite() and big.grad is not None and big.grad.isfinite().all()
    leaves = (series(2, 3).requires_grad_(), series(2, 3, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(lambda q, p: shuffle_rank_loss(q, p, 0.5), leaves)


def test_a_cut_exponent_cuts_the_gradient() -> None:
    """The worst violations then teach nothing, as in the release."""
    q = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64).requires_grad_()
    wrong = q.detach().flip(1)  # exponents are 20 towards the other clip, 0 within the own
    (cut,) = torch.autograd.grad(shuffle_rank_loss(q, wrong, max_exponent=5), q)
    (free,) = torch.autograd.grad(shuffle_rank_loss(q, wrong), q)
    assert cut.abs().max() < free.abs().max() / 2


def test_one_segment_can_not_be_ranked() -> None:
    with pytest.raises(InputError, match="at least 2 of them, got 1"):
        shuffle_rank_loss(torch.ones(2, 1, 3), torch.ones(2, 1, 3))


def test_mean_segments_compare_as_the_mean_of_all_pairs_of_segments() -> None:
    q, p = series(3, 4), series(3, 4, seed=1)
    found = average_segments(q) @ average_segments(p).T
    for i in range(3):
        for j in range(3):
            pairs = [float(q[i, s] @ p[j, t]) for s in range(4) for t in range(4)]
            assert float(found[i, j]) == pytest.approx(sum(pairs) / 16, rel=1e-12)


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
