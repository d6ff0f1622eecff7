"""Calibration: of the answers that a classifier gives 70 per cent, are 70 per cent right?

Source: Guo, Pleiss, Sun and Weinberger 2017: reliability diagram, and the expected calibration error (ECE) with bins of
equal width over the probability of the answer.
"""

from typing import NamedTuple

import numpy as np

from unreel.evaluation.metrics.bootstrap import percentile_interval
from unreel.seeding import make_generator

NUM_BINS = 10


class Reliability(NamedTuple):
    """Of each bin (K,): how many answers, their mean probability, and the share of right ones; 0 in an empty bin."""

    count_K: np.ndarray
    confidence_K: np.ndarray
    accuracy_K: np.ndarray

    @property
    def ece(self) -> float:
        """The mean distance of both, weighted by the counts, in percent.

        >>> Reliability(np.array([1, 3]), np.array([0.4, 0.9]), np.array([0.0, 1.0])).ece
        17.5
        """
        gap_K = np.abs(self.confidence_K - self.accuracy_K)
        return round(100.0 * float((self.count_K * gap_K).sum() / max(1, self.count_K.sum())), 10)


def compute_reliability(confidence_N: np.ndarray, is_right_N: np.ndarray, num_bins: int = NUM_BINS) -> Reliability:
    """Answers in bins of equal width over their probability, those of exactly 1 in the last."""
    bin_N = np.minimum((np.asarray(confidence_N) * num_bins).astype(np.int64), num_bins - 1)
    count_K = np.bincount(bin_N, minlength=num_bins)
    sums = (np.bincount(bin_N, np.asarray(x, np.float64), num_bins) for x in (confidence_N, is_right_N))
    return Reliability(count_K, *(sum_K / np.maximum(count_K, 1) for sum_K in sums))


def simulate_ece(confidence_N: np.ndarray, seed: int = 0, draws: int = 500) -> tuple[float, float, float]:
    """The ECE that these answers would have if their probabilities were exact: mean, and the ends of 95 % of draws.

    Few answers have an ECE above 0 by chance alone; this says how much of a measured one is that.
    """
    rng, confidence_N = make_generator(seed, 0, 0, "exact calibration"), np.asarray(confidence_N, np.float64)
    values = [compute_reliability(confidence_N, rng.random(len(confidence_N)) < confidence_N).ece for _ in range(draws)]
    return float(np.mean(values)), *percentile_interval(values)
