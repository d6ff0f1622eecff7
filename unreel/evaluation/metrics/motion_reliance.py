"""How much of a figure needs motion or order (chance, share lost), and variance between videos over within."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unreel.evaluation.metrics.bootstrap import sample_counts

MIN_WITHIN_VARIANCE = 1e-6**2  # of clips at unit length; less is rounding
TAIL_PROBABILITY = 0.025  # of the draws, beyond each end of a 95 % interval


def compute_draw_chance(train_labels: Sequence[str], test_labels: Sequence[str]) -> np.ndarray:
    """Probability (Q,) that a training video drawn at random shows the class of each test video."""
    counts = Counter(train_labels)
    return np.array([counts[label] / len(train_labels) for label in test_labels])


def compute_probe_chance(train_labels: Sequence[str], test_labels: Sequence[str]) -> np.ndarray:
    """What a probe of uninformative features gets right (Q,): a random draw, or the largest class if that is better."""
    counts = Counter(train_labels)
    largest = [label for label, count in counts.items() if count == max(counts.values())]
    majority_Q = np.array([(label in largest) / len(largest) for label in test_labels])
    return max(compute_draw_chance(train_labels, test_labels), majority_Q, key=np.mean)


@dataclass(frozen=True)
class Reliance:
    """Percent of the figure above chance that is lost, with its 95 % interval; None and a reason if undefined."""

    share: float | None = None
    low: float | None = None
    high: float | None = None
    undefined_reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"share": self.share, "low": self.low, "high": self.high, "why": self.undefined_reason}


def compute_reliance(
    intact_Q: np.ndarray,
    perturbed_Q: np.ndarray,
    chance_Q: np.ndarray,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> Reliance:
    """(intact - perturbed) / (intact - chance) for hits (Q,) of the same test videos.

    Below 0 where more is found on perturbed clips, above 100 where it is below chance. Undefined unless intact clips
    are above chance in more than 97.5 % of the draws. Paired percentile bootstrap: numerator and denominator of each
    draw use the same videos; whole groups are drawn where they are known.
    """
    parts_Q2 = np.stack([intact_Q - perturbed_Q, intact_Q - chance_Q], axis=1).astype(np.float64)
    draws_R2 = sample_counts(len(parts_Q2), groups, seed, draws) @ parts_Q2
    if (draws_R2[:, 1] <= 0).mean() >= TAIL_PROBABILITY:
        figures = f"{100 * np.mean(intact_Q):.1f}, chance {100 * np.mean(chance_Q):.1f}"
        return Reliance(
            undefined_reason=f"intact clips are not above chance by more than the bootstrap error ({figures})"
        )
    lost, above = parts_Q2.sum(axis=0)
    low, high = np.percentile(
        compute_ratios(draws_R2), (100 * TAIL_PROBABILITY, 100 * (1 - TAIL_PROBABILITY)), method="inverted_cdf"
    )
    return Reliance(100 * float(lost / above), 100 * float(low), 100 * float(high))


def compute_ratios(draws_R2: np.ndarray) -> np.ndarray:
    """First over second number of each draw; infinite, with the sign of the first, where the second is not above 0.

    `compute_reliance` allows so few of these that the ends of the interval stay finite.
    """
    lost_R, above_R = draws_R2.T
    ratio_R = np.divide(lost_R, above_R, out=np.zeros_like(lost_R), where=above_R > 0)
    return np.where((above_R <= 0) & (lost_R != 0), np.copysign(np.inf, lost_R), ratio_R)


def compute_variance_ratio(clips_NVD: np.ndarray) -> float | None:
    """Variance between videos over variance between clips of one video, of clips at unit length; None if undefined.

    One-way random effects: the variance of means of V clips contains 1 / V of the variance within videos, which is
    subtracted, so videos that do not differ give 0 on average, not 1 / V. Clips of a short video overlap, which raises
    the ratio.
    Source: Searle, Casella and McCulloch 1992, "Variance Components", the balanced one-way classification.
    """
    num_videos, num_clips = clips_NVD.shape[:2]
    if num_videos < 2 or num_clips < 2:
        return None
    within, mean_ND = 0.0, np.empty((num_videos, clips_NVD.shape[2]))
    for n, clips_VD in enumerate(clips_NVD):  # one video at a time, since the clips are large
        z_VD = clips_VD.astype(np.float64)
        z_VD /= np.maximum(np.linalg.norm(z_VD, axis=1, keepdims=True), 1e-12)
        within += float(z_VD.var(axis=0, ddof=1).sum()) / num_videos
        mean_ND[n] = z_VD.mean(axis=0)
    between = float(mean_ND.var(axis=0, ddof=1).sum()) - within / num_clips
    return between / within if within > MIN_WITHIN_VARIANCE else None
