"""Accuracy of classifiers: top-k, mean over classes, confusion counts and their intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.metrics.bootstrap import bootstrap_interval
from unreel.evaluation.result import Intervals, MetricRow, Outcomes
from unreel.io.text import format_count

MEAN_CLASS_ACCURACY = "per class"
TOP_KS = {"top-1": 1, "top-5": 5}
MAIN_COLUMN = "top-1"
INTERVALS_NOTE = "in brackets 95 % intervals, bootstrap over test videos (whole groups where they are known)"


def encode_labels(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Position of each label in `classes`, int64 (N,); -1 where it is none of them."""
    number = {label: n for n, label in enumerate(classes)}
    return np.array([number.get(label, -1) for label in labels], np.int64)


def list_classes(train_labels: Sequence[str], test_labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Classes of the training videos, sorted, and warnings. Raises InputError for fewer than two, or no test video."""
    classes = sorted(set(train_labels))
    if len(classes) < 2 or not test_labels:
        raise InputError(
            f"a classifier needs 2 classes or more and test videos, got {len(classes)} ({', '.join(classes)}) in the "
            f"training list and {len(test_labels)} test videos; add labelled videos"
        )
    unknown = [label for label in test_labels if label not in set(classes)]
    names = ", ".join(sorted(set(unknown)))
    count = format_count(len(unknown), "test video")
    verb = "counts" if len(unknown) == 1 else "count"
    warning = f"{count} {verb} as wrong: no training video shows their class ({names})."
    return classes, [warning] if unknown else []


def warn_few_classes(num_classes: int) -> list[str]:
    """A warning where every answer is among the five best."""
    return [f"top-5 says nothing: there are only {num_classes} classes."] if num_classes <= TOP_KS["top-5"] else []


def is_in_top_k(score_QC: np.ndarray, truth_Q: np.ndarray, k: int) -> np.ndarray:
    """Whether the true class is among the k best, bool (Q,); of equal scores the first wins, -1 is never right."""
    best_QK = np.argsort(-score_QC, axis=1, kind="stable")[:, :k]
    return (best_QK == truth_Q[:, None]).any(axis=1)


def compute_mean_class_accuracy(is_correct_Q: np.ndarray, labels: Sequence[str]) -> float:
    """Accuracy of each class of the test videos, then the mean over classes, in percent."""
    label_Q = np.asarray(labels)
    return 100.0 * float(np.mean([is_correct_Q[label_Q == label].mean() for label in sorted(set(labels))]))


def summarize_row(
    is_correct: dict[str, np.ndarray], main_is_correct_Q: np.ndarray, labels: Sequence[str], groups: Sequence[str]
) -> tuple[MetricRow, Intervals]:
    """Figures of a row from the test videos (Q,) that are right in each column, and from their labels and groups.

    The accuracy per class is that of `main_is_correct_Q`.
    """
    row = {name: 100.0 * float(right_Q.mean()) for name, right_Q in is_correct.items()}
    intervals = {name: bootstrap_interval(100.0 * right_Q, groups) for name, right_Q in is_correct.items()}
    return {**row, MEAN_CLASS_ACCURACY: compute_mean_class_accuracy(main_is_correct_Q, labels)}, intervals


def list_outcomes(is_correct: dict[str, np.ndarray]) -> Outcomes:
    """Which test videos (Q,) are right in each column, as 0 and 100: their mean is the figure in percent."""
    return {name: (100 * right_Q.astype(np.int64)).tolist() for name, right_Q in is_correct.items()}


def compute_confusion(score_QC: np.ndarray, classes: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """How many test videos of each class (row) were predicted as each class (column), unseen classes included."""
    names = sorted({*classes, *labels})
    predicted_Q = encode_labels([classes[n] for n in score_QC.argmax(axis=1)], names)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (encode_labels(labels, names), predicted_Q), 1)
    return {"classes": names, "counts": counts.tolist()}
