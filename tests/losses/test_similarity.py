"""Scores of a batch, and who is left out of them, against explicit loops in float64."""

import math

import pytest
import torch
from instances import INSTANCES, dot, may, rows

from unreel.losses.negative_mask import NegativeMask
from unreel.losses.similarity import compute_dot_products, positive_first, score_intra_negatives, score_pairs


@pytest.mark.parametrize("near_s", [0, 4.5])
@pytest.mark.parametrize("within", [True, False])
def test_pair_scores_against_a_double_loop(within: bool, near_s: float) -> None:
    a, b, index = rows(0), rows(1), torch.tensor([1, 3, 0, 5])
    found = score_pairs(a, b, NegativeMask(INSTANCES, near_s).build_mask(index, index), within)
    assert found.shape == (4, 7 if within else 4)
    for i in range(4):
        assert float(found[i, 0]) == pytest.approx(dot(a[i], b[i]), rel=1e-12)
        expected = []
        for other in [b, a] if within else [b]:
            for j in range(4):
                if j != i:
                    expected.append(dot(a[i], other[j]) if may(int(index[i]), int(index[j]), near_s) else -math.inf)
        assert sorted(found[i, 1:].tolist()) == pytest.approx(sorted(expected), rel=1e-12)


def test_columns_after_the_partner_go_round_in_a_ring() -> None:
    square = torch.arange(12).view(3, 4)
    assert positive_first(square).tolist() == [[0, 1, 2, 3], [5, 6, 7, 4], [10, 11, 8, 9]]
    assert positive_first(square[:2], 2).tolist() == [[2, 3, 0, 1], [7, 4, 5, 6]]


def test_the_own_broken_clip_counts_and_those_of_neighbours_do_not() -> None:
    a, broken, index = rows(0), rows(2), torch.tensor([1, 3, 0, 5])
    found = score_intra_negatives(a, broken, NegativeMask(INSTANCES, 4.5).build_mask(index, index))
    for i in range(4):
        for j in range(4):
            counts = i == j or may(int(index[i]), int(index[j]), 4.5)
            expected = dot(a[i], broken[j]) if counts else -math.inf
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-12)
    assert found.isinf().sum() == 2


def test_scores_keep_full_precision_under_autocast() -> None:
    a, b = rows(0, 4, 64).float(), rows(1, 4, 64).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ b.T).dtype == torch.bfloat16 and compute_dot_products(a, b).dtype == torch.float32
        found = score_pairs(a, b, torch.ones(4, 4, dtype=torch.bool))
    torch.testing.assert_close(found, score_pairs(a, b, torch.ones(4, 4, dtype=torch.bool)), rtol=0, atol=0)
    assert compute_dot_products(a.bfloat16(), b.bfloat16()).dtype == torch.float32
    assert compute_dot_products(a.double(), b.double()).dtype == torch.float64
