"""Classification by the weighted votes of the nearest training videos."""

from collections.abc import Sequence

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.metrics.accuracy import encode_labels
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, find_nearest


def predict_knn(
    train_ND: np.ndarray,
    train_labels: Sequence[str],
    test_QD: np.ndarray,
    k: int,
    temperature: float,
    classes: Sequence[str],
) -> np.ndarray:
    """Share of the votes for each class, float64 (Q, C): each of the k nearest votes with exp(cosine / temperature).

    Of equally near videos the first in the list votes; with k above N all videos vote. Raises InputError for empty
    lists and for a label that is not in `classes`.
    """
    class_N = encode_labels(train_labels, classes)
    if not len(train_ND) or not len(test_QD) or class_N.min() < 0:
        raise InputError(f"kNN needs training and test videos of known classes, got {len(train_ND)} and {len(test_QD)}")
    return count_votes(*find_nearest(QueryGallery(test_QD, train_ND), k), class_N, temperature, len(classes))


def count_votes(
    order_QK: np.ndarray, cosine_QK: np.ndarray, class_N: np.ndarray, temperature: float, num_classes: int
) -> np.ndarray:
    """Shares of the votes, each row sums to 1; votes are relative to the nearest video's, so that none overflows."""
    cosine_QK = cosine_QK.astype(np.float64)
    weight_QK = np.exp((cosine_QK - cosine_QK[:, :1]) / temperature)
    score_QC = np.zeros((len(order_QK), num_classes))
    np.add.at(score_QC, (np.arange(len(order_QK))[:, None], class_N[order_QK]), weight_QK)
    return score_QC / score_QC.sum(axis=1, keepdims=True)
