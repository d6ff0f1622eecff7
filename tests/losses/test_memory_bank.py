"""The memory bank: its beginning, scores, updates and state."""

import math

import pytest
import torch
import torch.nn.functional as F

from unreel.losses import memory_bank
from unreel.losses.memory_bank import MemoryBank


def test_rows_begin_uniform_with_unit_norm_on_average() -> None:
    bank, bound = MemoryBank(2000, 128, seed=0), math.sqrt(3 / 128)
    assert bank.rows.abs().max() <= bound and bank.rows.abs().max() > 0.999 * bound
    assert bank.rows.mean().abs() < 1e-3
    assert bank.rows.square().sum(dim=1).mean().item() == pytest.approx(1, abs=0.01)
    share = torch.histc(bank.rows, 10, -bound, bound) / bank.rows.numel()
    assert (share - 0.1).abs().max() < 0.003


def test_rows_depend_on_the_seed_and_on_nothing_else() -> None:
    state = torch.random.get_rng_state()
    first = MemoryBank(10, 4, seed=1).rows
    torch.rand(7)
    assert torch.equal(first, MemoryBank(10, 4, seed=1).rows)
    assert not torch.equal(first, MemoryBank(10, 4, seed=2).rows)
    torch.random.set_rng_state(state)
    MemoryBank(10, 4, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("dense", [True, False])
def test_scores_against_a_double_loop_by_either_path(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_bank, "MAX_DENSE_ROWS", 20 if dense else 19)
    bank, anchors = MemoryBank(20, 6, seed=0), torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    index = torch.randint(20, (3, 11), generator=torch.Generator().manual_seed(2))
    gathered = bank.rows[index]
    found = bank.score_rows(anchors, index)
    for b in range(3):
        for k in range(11):
            row = bank.rows[int(index[b, k])]
            explicit = sum(float(a) * float(r) for a, r in zip(anchors[b], row, strict=True))
            assert float(found[b, k]) == pytest.approx(explicit, abs=1e-6)
    leaf = anchors.clone().requires_grad_()
    weights = torch.randn(3, 11, generator=torch.Generator().manual_seed(3))
    (bank.score_rows(leaf, index) * weights).sum().backward()
    torch.testing.assert_close(leaf.grad, (gathered * weights[:, :, None]).sum(dim=1))


def test_gradient_reaches_the_anchors_only() -> None:
    bank, anchors = MemoryBank(5, 3, seed=0), torch.ones(2, 3, requires_grad=True)
    bank.score_rows(anchors, torch.tensor([[0, 1], [2, 2]])).sum().backward()
    assert anchors.grad is not None and anchors.grad.abs().sum() > 0
    assert list(bank.parameters()) == [] and not bank.rows.requires_grad and bank.rows.grad is None


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_update_row_by_row(momentum: float) -> None:
    bank = MemoryBank(6, 4, seed=0)
    before, index = bank.rows.clone(), torch.tensor([4, 0, 3])
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    bank.update(index, features * 12.8, momentum)
    assert not bank.rows.requires_grad
    for b, i in enumerate(index.tolist()):
        pairs = zip(before[i].tolist(), features[b].tolist(), strict=True)
        mixed = [momentum * m + (1 - momentum) * 12.8 * f for m, f in pairs]
        norm = math.sqrt(sum(v * v for v in mixed))
        assert bank.rows[i].tolist() == pytest.approx([v / norm for v in mixed], abs=1e-6)
    for i in (1, 2, 5):
        assert torch.equal(bank.rows[i], before[i])


def test_memory_survives_its_state_to_the_bit() -> None:
    bank, other = MemoryBank(6, 4, seed=0), MemoryBank(6, 4, seed=1)
    bank.update(torch.tensor([1, 5]), F.normalize(torch.randn(2, 4), dim=1), 0.5)
    other.load_state_dict(bank.state_dict())
    assert list(bank.state_dict()) == ["rows"] and torch.equal(bank.rows, other.rows)


def test_draws_of_one_video_update_its_row_once_in_any_order() -> None:
    """Row 4 comes twice, 0 three times: one update each, with the mean; row 3 as if it were alone, to the bit."""
    index, features = torch.tensor([4, 0, 4, 3, 0, 0]), torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    banks = [MemoryBank(6, 5, seed=0) for _ in range(3)]
    before, order = banks[0].rows.clone(), torch.tensor([5, 3, 0, 4, 2, 1])
    banks[0].update(index, features, 0.5)
    banks[1].update(index[order], features[order], 0.5)
    banks[2].update(index[3:4], features[3:4], 0.5)
    for row, draws in ((4, (0, 2)), (0, (1, 4, 5))):
        mean = sum(features[draw].double() for draw in draws) / len(draws)
        mixed = (before[row].double() + mean) / 2
        torch.testing.assert_close(banks[0].rows[row].double(), mixed / mixed.norm(), atol=1e-6, rtol=0)
    torch.testing.assert_close(banks[1].rows, banks[0].rows, atol=1e-6, rtol=0)
    assert torch.equal(banks[0].rows[3], banks[2].rows[3])
