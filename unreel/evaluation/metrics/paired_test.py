"""Is one method better than another? A paired test over test videos and seeds, and Holm's correction for many of them.

Two things make a difference vary: other test videos, and other seeds of the same methods. All runs see the same videos,
so the videos are paired; seeds are not, since seed 0 of one method has nothing to do with seed 0 of another. This is
the design of a study with many readers (runs) and cases (videos), each reader in one arm:

    variance = sum over methods of s_m^2 / n_m  +  max(0, c_A + c_B - 2 c_AB)

s_m^2 is the variance of the figures of the n_m runs of method m, and c the covariance, due to the choice of videos, of
the figures of two different runs: of one method (c_A, c_B), or one of each (c_AB). The first part is that of the seeds
with what a run does by chance on single videos; the second is that of videos on which the two methods differ. A method
with one run has no variance of seeds: its c is the variance of this run, and the test is about the run, not the method.
The statistic has Student's distribution, degrees of freedom as for a sum of variances.

Source: Obuchowski and Rockette 1995, eq. 3; Hillis 2014 for readers nested in one arm; Satterthwaite 1946. Where we
deviate: covariances are those of the linearised mean over groups of videos, without resampling, and the videos' part
has degrees of freedom too. Permuting three seeds of each method gives no p below 0.1; a percentile bootstrap over
videos and seeds calls 8 to 19 of 100 true nulls significant, and flipping signs of videos alone 30 to 77: docs/log.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from unreel.errors import InputError
from unreel.evaluation.metrics.bootstrap import number_groups

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Mean of A minus mean of B, the 95 % interval of it, its two-sided p, the numbers of runs of A and B, and of how
    many videos, or groups of them, that are drawn each by itself."""

    difference: float
    low: float
    high: float
    p: float
    num_runs: tuple[int, int]
    num_groups: int

    @property
    def is_about_runs(self) -> bool:
        """Whether one method has a single run: other seeds of it may do otherwise."""
        return min(self.num_runs) == 1


def compare_paired(a_SQ: np.ndarray, b_SQ: np.ndarray, groups: Sequence[str] | None = None) -> PairedDifference:
    """Compare the runs of method A (S, Q) with those of method B (S', Q) on the same Q test videos.

    With `groups` the videos of a group (a recording) count as one draw. Values are percent of single videos, or any
    others whose means are compared. Raises InputError for fewer than two videos or groups, and for other shapes.

    >>> a, b = np.array([[100.0, 0, 100, 100]]), np.array([[0.0, 0, 100, 0]])
    >>> found = compare_paired(a, b)
    >>> found.difference, round(found.low), round(found.high), round(found.p, 3)
    (50.0, -42, 142, 0.182)
    """
    a_SQ, b_SQ = (np.atleast_2d(np.asarray(values, np.float64)) for values in (a_SQ, b_SQ))
    num_a, num_videos = a_SQ.shape
    if b_SQ.shape[1] != num_videos:
        raise InputError(f"a paired test needs the same test videos, got {num_videos} and {b_SQ.shape[1]}")
    group_Q, num_groups = number_groups(num_videos, groups, draws=1)
    if num_groups < 2:
        raise InputError(f"a paired test needs 2 test videos (or recordings) or more, got {num_groups}")
    covariance_RR = compute_run_covariance(np.concatenate([a_SQ, b_SQ]), group_Q, num_groups)
    parts = [(estimate_seed_variance(runs_SQ), len(runs_SQ) - 1) for runs_SQ in (a_SQ, b_SQ)]
    parts.append((estimate_video_variance(covariance_RR, num_a), num_groups - 1))
    difference = float(a_SQ.mean() - b_SQ.mean())
    low, high, p = _conclude(difference, parts)
    p = max(p, find_least_p(num_groups)) if difference else 1.0
    return PairedDifference(difference, low, high, p, (num_a, len(b_SQ)), num_groups)


def find_least_p(num_groups: int) -> float:
    """The smallest p that so many groups of videos can give, that of a sign test: all that agree are no certainty.

    >>> find_least_p(3), find_least_p(6)
    (0.25, 0.03125)
    """
    return 2.0 ** (1 - min(num_groups, 60))


def compute_run_covariance(values_RQ: np.ndarray, group_Q: np.ndarray, num_groups: int) -> np.ndarray:
    """Covariance (R, R) of the means of runs over videos, float64, where whole groups of videos are drawn."""
    num_videos = values_RQ.shape[1]
    centred_RQ = values_RQ - values_RQ.mean(axis=1, keepdims=True)
    sums_RG = np.zeros((len(values_RQ), num_groups))
    np.add.at(sums_RG.T, group_Q, centred_RQ.T)
    return sums_RG @ sums_RG.T / num_videos**2 * num_groups / (num_groups - 1)


def estimate_seed_variance(runs_SQ: np.ndarray) -> float:
    """Variance of the mean of the runs' figures, 0 for one run, of which nothing is known."""
    return float(runs_SQ.mean(axis=1).var(ddof=1)) / len(runs_SQ) if len(runs_SQ) > 1 else 0.0


def estimate_video_variance(covariance_RR: np.ndarray, num_a: int) -> float:
    """Variance of the difference by the choice of videos that all runs of a method share; A has the first runs."""
    blocks = covariance_RR[:num_a, :num_a], covariance_RR[num_a:, num_a:]
    shared = float(sum(_mean_shared(block) for block in blocks)) - 2 * float(covariance_RR[:num_a, num_a:].mean())
    return max(0.0, shared)


def _mean_shared(block_SS: np.ndarray) -> float:
    """Mean covariance of two different runs; the variance of the only one."""
    count = len(block_SS)
    return float(block_SS.sum() - np.trace(block_SS)) / (count * (count - 1)) if count > 1 else float(block_SS[0, 0])


def _conclude(difference: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float, float]:
    """Interval and two-sided p of a difference from its variances, each with its degrees of freedom."""
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return difference, difference, 0.0
    freedom = variance**2 / sum(part**2 / count for part, count in parts if part > 0)
    error = variance**0.5
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    return difference - half, difference + half, 2 * float(stdtr(freedom, -abs(difference) / error))


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """p of each comparison, corrected for their number: the chance of one false positive or more stays at the level.

    Source: Holm 1979.

    >>> [round(p, 3) for p in correct_holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    corrected, least = [0.0] * len(p_values), 0.0
    for place, n in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[n]))
        corrected[n] = least
    return corrected
