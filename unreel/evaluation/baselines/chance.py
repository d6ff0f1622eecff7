"""What guessing achieves: expected figures, exact for the class counts at hand."""

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np

from unreel.evaluation.metrics.accuracy import MEAN_CLASS_ACCURACY
from unreel.evaluation.metrics.bootstrap import bootstrap_interval
from unreel.evaluation.result import Intervals, MetricRow

CHANCE, MAJORITY_CLASS = "chance", "majority class"
RANKING_CHANCE_DESCRIPTION = (
    "expected figure of a random ranking, exact (hypergeometric) for the class counts of the gallery"
)
GUESS_DESCRIPTIONS = {
    CHANCE: "expected figure of guessing among the classes of the training videos, all equally likely",
    MAJORITY_CLASS: "always the most frequent class of the training videos (then the next ones, for top-k with k > 1)",
}


def compute_chance_recall(
    query_labels: Sequence[str], gallery_labels: Sequence[str], ks: Sequence[int]
) -> dict[int, float]:
    """Expected R@k in percent when every query ranks the gallery at random.

    k draws miss a class that has n of N gallery videos with probability C(N - n, k) / C(N, k).
    """
    in_gallery, total = Counter(gallery_labels), len(gallery_labels)
    queries = Counter(query_labels)

    def hit(label: str, k: int) -> float:
        k = min(k, total)
        return 1.0 - comb(total - in_gallery[label], k) / comb(total, k)

    return {k: 100.0 * sum(n * hit(c, k) for c, n in queries.items()) / len(query_labels) for k in ks}


def compute_guess_rows(
    train_labels: Sequence[str], test_labels: Sequence[str], top_ks: dict[str, int]
) -> dict[str, MetricRow]:
    """The rows that use labels only; `top_ks` has the k of top-k for each column."""
    counts, share = Counter(train_labels), dict[str, float]()
    for label in sorted(set(test_labels)):
        share[label] = 1 / len(counts) if label in counts else 0.0
    mean = float(np.mean([share[label] for label in test_labels]))
    chance = {name: 100.0 * mean * min(k, len(counts)) for name, k in top_ks.items()}
    ranked = rank_classes(train_labels)
    hits = find_majority_hits(train_labels, test_labels, top_ks)
    majority = {name: 100.0 * float(hit_Q.mean()) for name, hit_Q in hits.items()}
    return {
        CHANCE: {**chance, MEAN_CLASS_ACCURACY: 100.0 * float(np.mean(list(share.values())))},
        MAJORITY_CLASS: {**majority, MEAN_CLASS_ACCURACY: 100.0 * (ranked[0] in share) / len(share)},
    }


def compute_guess_intervals(
    train_labels: Sequence[str], test_labels: Sequence[str], top_ks: dict[str, int], groups: Sequence[str]
) -> dict[str, Intervals]:
    """The interval of the majority class over test videos; chance is an exact figure and has none."""
    hits = find_majority_hits(train_labels, test_labels, top_ks)
    return {MAJORITY_CLASS: {name: bootstrap_interval(100.0 * hit_Q, groups) for name, hit_Q in hits.items()}}


def find_majority_hits(
    train_labels: Sequence[str], test_labels: Sequence[str], top_ks: dict[str, int]
) -> dict[str, np.ndarray]:
    """Whether the class of each test video is among the k most frequent ones of training, bool (Q,)."""
    ranked = rank_classes(train_labels)
    return {name: np.isin(test_labels, ranked[:k]) for name, k in top_ks.items()}


def rank_classes(train_labels: Sequence[str]) -> list[str]:
    """The classes, the most frequent first; of equally frequent ones by name."""
    counts = Counter(train_labels)
    return sorted(counts, key=lambda label: (-counts[label], label))
