"""Calibration by explicit twins: reliability, ECE, and the temperature with the least loss."""

import numpy as np
import pytest

from unreel.evaluation.metrics.calibration import compute_reliability, simulate_ece
from unreel.evaluation.probes.temperature import fit_temperature, make_targets, scale_log_probabilities


def draw_answers(count: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities that are exact, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    log_p_NC = scale_log_probabilities(2.0 * rng.standard_normal((count, num_classes)), 1.0)
    class_N = np.array([rng.choice(num_classes, p=p_C / p_C.sum()) for p_C in np.exp(log_p_NC)])
    return log_p_NC, class_N


def test_reliability_is_that_of_a_loop_over_bins() -> None:
    rng = np.random.default_rng(0)
    confidence, right = np.r_[rng.random(200), 1.0, 0.3, 0.0], rng.random(203) < 0.6
    found, ece = compute_reliability(confidence, right, num_bins=7), 0.0
    for n in range(7):
        inside = [k for k, p in enumerate(confidence) if n / 7 <= p < (n + 1) / 7 or (n == 6 and p == 1.0)]
        assert found.count_K[n] == len(inside)
        if inside:
            mean, share = np.mean([confidence[k] for k in inside]), np.mean([right[k] for k in inside])
            assert found.confidence_K[n] == pytest.approx(mean) and found.accuracy_K[n] == pytest.approx(share)
            ece += len(inside) / 203 * abs(mean - share)
    assert found.ece == pytest.approx(100 * ece, abs=1e-8)


def test_exact_probabilities_show_an_error_by_chance_that_falls_with_their_number() -> None:
    confidence = np.random.default_rng(1).random(40)
    mean, low, high = simulate_ece(confidence, draws=200)
    again = [compute_reliability(confidence, np.random.default_rng(n).random(40) < confidence).ece for n in range(400)]
    assert mean == pytest.approx(np.mean(again), abs=1.0) and low < mean < high
    assert np.mean((np.array(again) >= low) & (np.array(again) <= high)) == pytest.approx(0.95, abs=0.04)
    assert simulate_ece(np.tile(confidence, 100), draws=50)[0] < mean / 3


def test_the_temperature_is_the_one_of_a_fine_grid() -> None:
    log_p_NC, class_N = draw_answers(80, 4, seed=2)
    found = fit_temperature(log_p_NC * 3, class_N, 80)
    losses = {}
    for temperature in np.exp(np.linspace(-1, 3, 401)):
        q_NC = np.exp(log_p_NC * 3 / temperature)
        log_q_NC = np.log(q_NC / q_NC.sum(axis=1, keepdims=True))
        rows = zip(log_q_NC.tolist(), class_N.tolist(), strict=True)
        losses[temperature] = -sum(
            q * (81 / 82 if c == true else 1 / 82 / 3) for row, true in rows for c, q in enumerate(row)
        )
    assert found == pytest.approx(min(losses, key=losses.__getitem__), rel=0.02)


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_a_factor_of_the_scores(too_sure: float) -> None:
    log_p_NC, class_N = draw_answers(4000, 5, seed=3)
    assert fit_temperature(too_sure * log_p_NC, class_N, 4000) == pytest.approx(too_sure, rel=0.06)


def test_right_answers_alone_do_not_make_it_sure() -> None:
    log_p_NC, class_N = np.log(np.tile([0.7, 0.15, 0.15], (10, 1))), np.zeros(10, np.int64)
    p_C = np.exp(scale_log_probabilities(log_p_NC, fit_temperature(log_p_NC, class_N, 10)))[0]
    assert p_C[0] == pytest.approx(11 / 12, abs=0.01), "ten of ten right say that the next is right with 11 / 12"
    assert make_targets(class_N, 3, 10)[0].tolist() == pytest.approx([11 / 12, 1 / 24, 1 / 24])


def test_impossible_classes_stay_finite() -> None:
    log_p_NC = np.array([[0.0, -np.inf], [0.0, -np.inf], [-np.inf, 0.0]])
    temperature = fit_temperature(log_p_NC, np.array([0, 1, 1]), 3)
    assert np.isfinite(temperature) and np.isfinite(scale_log_probabilities(log_p_NC, temperature)).all()
