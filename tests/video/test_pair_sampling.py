"""Distances of clip pairs: compared with numerical integration, CVRL's arithmetic and its plotted values."""

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from unreel.errors import InputError
from unreel.video.sampling.pair_sampling import (
    DISTRIBUTIONS,
    IntervalDistribution,
    cdf,
    inverse_cdf,
    pdf,
    sample_start_pair,
)

POWERS = (0.5, 1.0, 2.0, 3.5)
MIDDLES = (np.arange(20_000) + 0.5) / 20_000


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_the_inverse_of_the_integrated_density(kind: str, power: float) -> None:
    edges = np.linspace(0, 1, 20_001)
    integral = np.concatenate([[0.0], np.cumsum(pdf(kind, power, MIDDLES)) / 20_000])
    assert integral[-1] == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(cdf(kind, power, edges), integral, atol=1e-5)
    u = np.random.default_rng(0).random(500)
    np.testing.assert_allclose(np.interp(inverse_cdf(kind, power, u), edges, integral), u, atol=2e-5)
    np.testing.assert_allclose(cdf(kind, power, inverse_cdf(kind, power, u)), u, atol=1e-9)
    np.testing.assert_allclose(inverse_cdf(kind, power, np.array([0.0, 1.0])), [0, 1], atol=1e-7)


def test_the_distributions_of_the_paper_by_hand() -> None:
    x = np.linspace(0, 1, 11)
    np.testing.assert_allclose(pdf("decreasing", 1, x), 2 * (1 - x))
    np.testing.assert_allclose(pdf("decreasing", 0.5, x), 3 * (1 - np.sqrt(x)))
    np.testing.assert_allclose(pdf("decreasing", 2, x), 1.5 * (1 - x**2))
    np.testing.assert_allclose(pdf("increasing", 1, x), 2 * x)
    np.testing.assert_allclose(pdf("increasing", 2, x), 3 * x**2)
    np.testing.assert_allclose(pdf("mirror", 0.5, x), 3 * (1 - np.sqrt(1 - x)), atol=1e-12)
    np.testing.assert_array_equal(pdf("uniform", 2, x), 1)


def test_the_plotted_increasing_curve_is_the_mirror_image() -> None:
    """CVRL's release: the figure, over 0 .. 218, labels it t^2; 3 x^2 would give 0.0029 and 0.0116."""
    t, plotted = np.array([100, 200, 218]), np.array([0.0036, 0.0099, 0.0137])
    np.testing.assert_allclose(pdf("mirror", 0.5, t / 218) / 218, plotted, atol=1.5e-4)
    assert np.abs(pdf("increasing", 2, t / 218) / 218 - plotted)[1] > 1e-3


def draw_pairs(num_starts: int, kind: str, power: float, count: int = 20_000) -> np.ndarray:
    """Pairs of starts, (count, 2)."""
    u = np.random.default_rng(num_starts).random((count, 3))
    return np.array([sample_start_pair(num_starts, kind, power, row) for row in u])


def test_the_numbers_of_the_released_sampler() -> None:
    """docs/methods.md, for a Kinetics clip of 250 frames."""
    pairs = draw_pairs(220, "decreasing", 1)
    distance = np.abs(pairs[:, 1] - pairs[:, 0])
    exact = np.diff([2 * x - x * x for x in np.arange(221) / 220])
    assert exact @ np.arange(220) == pytest.approx(72.8, abs=0.05) and exact[0] == pytest.approx(0.0091, abs=5e-5)
    assert exact[:31].sum() == pytest.approx(0.26, abs=0.005)
    assert distance.mean() == pytest.approx(72.8, abs=1.5)  # four standard errors
    assert (distance == 0).mean() == pytest.approx(0.0091, abs=0.003)
    assert (distance <= 30).mean() == pytest.approx(0.26, abs=0.0125)
    assert distance.max() <= 219 and pairs.min() == 0 and pairs.max() == 219
    spread = (distance + np.random.default_rng(0).random(len(distance))) / 220
    assert kstest(spread, lambda x: 2 * x - x * x).pvalue > 1e-3
    assert kstest(spread, lambda x: x).pvalue < 1e-6
    ends = [sample_start_pair(220, "decreasing", 1, np.array([u, 0.0, 0.0])) for u in (0.0, np.nextafter(1, 0))]
    assert ends == [(0, 0), (0, 219)]


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_every_start_and_both_orders_are_equally_likely(kind: str) -> None:
    pairs = draw_pairs(5, kind, 1.0, 4000)
    distance = np.abs(pairs[:, 1] - pairs[:, 0])
    assert chisquare(np.bincount(distance, minlength=5), 4000 * np.diff(cdf(kind, 1, np.arange(6) / 5))).pvalue > 1e-3
    for t in range(4):
        first = pairs.min(axis=1)[distance == t]
        assert first.max() == 4 - t and chisquare(np.bincount(first, minlength=5 - t)).pvalue > 1e-3
    apart = distance > 0
    assert abs((pairs[apart, 1] > pairs[apart, 0]).mean() - 0.5) < 0.04


def test_a_single_start_is_used_for_both_clips() -> None:
    for kind in DISTRIBUTIONS:
        assert sample_start_pair(1, kind, 2.0, np.array([0.99, 0.99, 0.99])) == (0, 0)


def test_unknown_distributions_are_refused() -> None:
    for function in (pdf, cdf, inverse_cdf):
        with pytest.raises(InputError, match="unknown law of intervals 'uniforn'. Did you mean 'uniform'"):
            function("uniforn", 1.0, np.zeros(1))
    with pytest.raises(InputError, match="unknown interval 'sooner'"):
        IntervalDistribution("sooner")  # type: ignore[arg-type]
    for power in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="power of an interval must be above 0"):
            IntervalDistribution("decreasing", power)
