"""Contrast and memory against explicit loops in float64, and against the numbers of IIC's release."""

import math

import pytest
import torch
import torch.nn.functional as F

from unreel.losses import memory_bank
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


def explicit_nce(scores_BK: torch.Tensor, temperature: float, z: float, num_rows: int) -> float:
    """IIC's release: p = exp(s / tau) / Z; the data among m noise samples of density 1 / N."""
    total = 0.0
    for row in scores_BK.tolist():
        noise = [s for s in row[1:] if s != -math.inf]
        m, density = len(noise), 1 / num_rows
        p = math.exp(row[0] / temperature) / z
        total -= math.log(p / (p + m * density))
        for s in noise:
            q = math.exp(s / temperature) / z
            total -= math.log(m * density / (q + m * density))
    return total / len(scores_BK)


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_softmax_against_a_double_loop(hide: bool, temperature: float) -> None:
    s = masked(scores(4, 9)) if hide else scores(4, 9)
    assert infonce_loss(s, temperature).item() == pytest.approx(explicit_softmax(s, temperature), rel=1e-12)


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_nce_against_a_double_loop(hide: bool, temperature: float) -> None:
    s = masked(scores(4, 9)) if hide else scores(4, 9)
    log_z = torch.tensor(37.0, dtype=torch.float64).log()
    assert nce_loss(s, temperature, log_z, 500).item() == pytest.approx(explicit_nce(s, temperature, 37, 500), rel=1e-6)


def test_nce_constant_is_the_mean_exponential_times_the_rows() -> None:
    s = masked(scores(4, 9))
    kept = [math.exp(v / TAU) for row in s.tolist() for v in row if v != -math.inf]
    assert estimate_nce_log_z(s.float(), TAU, 500).exp().item() == pytest.approx(sum(kept) / len(kept) * 500, rel=1e-5)
    assert estimate_nce_log_z(s, TAU, 500).exp().item() == pytest.approx(sum(kept) / len(kept) * 500, rel=1e-6)


def test_nce_constant_has_no_graph_and_keeps_the_type() -> None:
    z = estimate_nce_log_z(scores(2, 5).float().requires_grad_(), TAU, 10)
    assert z.dtype == torch.float32 and z.shape == () and not z.requires_grad


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


def test_scores_of_raw_features_stay_finite() -> None:
    """Unnormalised scores are some 180 times a cosine: exp(30 / 0.07) is no float32."""
    s = torch.tensor([[30.0, -30.0, 25.0], [-30.0, 30.0, 0.0]])
    assert infonce_loss(s, TAU).item() == pytest.approx(30 / TAU, rel=1e-3)
    z = estimate_nce_log_z(s, TAU, 10)
    assert torch.isfinite(z) and torch.isfinite(nce_loss(s, TAU, z, 10))


@pytest.mark.parametrize(("columns", "loss"), [(2 * 1024 + 2, 15.2512), (1024 + 1, 13.8649)])
def test_zero_features_give_the_chance_level(columns: int, loss: float) -> None:
    bank = MemoryBank(300, 512, seed=0)
    drawn = torch.randint(300, (8, columns), generator=torch.Generator().manual_seed(0))
    total = sum(infonce_loss(bank.score_rows(torch.zeros(8, 512), drawn), TAU) for _ in range(2))
    assert float(total) == pytest.approx(2 * math.log(columns), abs=1e-5)
    assert round(float(total), 4) == loss


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
