"""Who may be a negative of whom, pair by pair."""

import pytest
import torch
from instances import INSTANCES, may

from unreel.losses.negative_mask import NegativeMask


@pytest.mark.parametrize("near_s", [0, 4.0, 4.5, 9.0])
def test_neighbours_pair_by_pair(near_s: float) -> None:
    index, others = [2, 0, 5], [1, -1, 2, 3, 0, 5, 4]
    expected = [[may(i, j, near_s) for j in others] for i in index]
    who = NegativeMask(INSTANCES, near_s)
    assert who.build_mask(torch.tensor(index), torch.tensor(others)).tolist() == expected
    rolled = [others[k:] + others[:k] for k in range(3)]
    expected = [[may(i, j, near_s) for j in row] for i, row in zip(index, rolled, strict=True)]
    assert who.build_mask(torch.tensor(index), torch.tensor(rolled)).tolist() == expected


def test_nobody_is_never_hidden_even_from_the_last_instance() -> None:
    """Row -1 of a tensor is its last."""
    who = NegativeMask(INSTANCES, 1000)
    assert who.build_mask(torch.tensor([5, 0]), torch.tensor([-1, -1])).all()


def test_neighbours_leave_nothing_in_a_checkpoint() -> None:
    who = NegativeMask(INSTANCES, 1)
    assert not who.state_dict() and all(b.dtype != torch.float64 for b in who.buffers())
