"""Average precision of scored rows, in its two definitions.

The *interpolated* one uses at each recall the best precision at that recall or a higher one (PASCAL VOC since 2010,
AVA); the *ranked* one uses the precision as it is (retrieval; scikit-learn's average_precision_score), and is never
larger. Rows with equal scores are one threshold in both, so the order of rows does not matter: a constant score gets
the share of positives. (The official AVA script leaves the order of ties to its sort.)
"""

import numpy as np

from unreel.errors import InputError


def average_precision(scores: np.ndarray, is_positive: np.ndarray, num_positives: int | None = None) -> float:
    """Exact area under the interpolated precision-recall curve, in [0, 1], of scores (N,) and truths (N,).

    `num_positives` is the denominator of recall, larger than the sum of `is_positive` when some were never scored.
    Raises InputError when it is 0, and for a score that is not finite.
    Source: Everingham et al. 2010, development kit; ActivityNet's AVA evaluation.
    """
    precision, recall = precision_recall_curve(scores, is_positive, num_positives)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


def ranked_average_precision(scores: np.ndarray, is_positive: np.ndarray, num_positives: int | None = None) -> float:
    """Precision at each threshold weighted by the recall it adds, in [0, 1]: scikit-learn's average_precision_score."""
    precision, recall = precision_recall_curve(scores, is_positive, num_positives)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall_curve(
    scores: np.ndarray, is_positive: np.ndarray, num_positives: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, float64 (K,), of the rows at or above each of K different scores, highest first."""
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(is_positive, dtype=bool)
    if scores.shape != positive.shape or scores.ndim != 1:
        raise InputError(f"scores and labels must be vectors of one length, got {scores.shape} and {positive.shape}")
    if not np.isfinite(scores).all():
        raise InputError("all scores must be finite")
    total = int(positive.sum()) if num_positives is None else num_positives
    if total < (least := max(1, int(positive.sum()))):
        raise InputError(f"average precision needs num_positives of at least {least} here, got {total}")
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(positive[order])[last]
    return hits / (last + 1), hits / total
