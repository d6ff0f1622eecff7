"""Shuffle-rank against nested loops in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.shuffle_rank import average_segments, shuffle_rank_loss


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
