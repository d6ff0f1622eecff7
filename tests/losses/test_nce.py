"""NCE against explicit loops in float64, and its constant."""

import math

import pytest
import torch

from unreel.losses.infonce import infonce_loss
from unreel.losses.nce import estimate_nce_log_z, nce_loss

TAU = 0.07


def scores(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 4


def masked(scores_BK: torch.Tensor) -> torch.Tensor:
    """Some candidates left out; never the positive."""
    out = scores_BK.clone()
    out[0, 2] = out[0, 5] = out[2, 1] = -math.inf
    return out


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


def test_scores_of_raw_features_stay_finite() -> None:
    """Unnormalised scores are some 180 times a cosine: exp(30 / 0.07) is no float32."""
    s = torch.tensor([[30.0, -30.0, 25.0], [-30.0, 30.0, 0.0]])
    assert infonce_loss(s, TAU).item() == pytest.approx(30 / TAU, rel=1e-3)
    z = estimate_nce_log_z(s, TAU, 10)
    assert torch.isfinite(z) and torch.isfinite(nce_loss(s, TAU, z, 10))
