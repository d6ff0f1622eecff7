"""A probe of one's own: a function of features and classes that classifies other features."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unreel.errors import OwnCodeError
from unreel.evaluation.probes.grid_search import Hyperparameters, Scorer
from unreel.own_code.error_lines import explain_errors
from unreel.own_code.loading import OwnCode, get_member
from unreel.own_code.names import split_name
from unreel.own_code.python_objects import name_own_code

KIND = "probe"
EXPECTED = "a probe returns scores (Q, C), or a class (Q,), of the clips in its third argument"


def name_own_probe(probe: Any) -> tuple[str, str]:
    """The name of a probe, a file's as it is now or a function, and the hash of its source. Raises OwnCodeError."""
    name = name_own_code({KIND: probe})[KIND]
    code, function = get_member(name, KIND)
    if not callable(function):
        line = code.find_line(split_name(name, KIND)[1])
        raise OwnCodeError(
            f"{line}: probe '{name}' is a {type(function).__name__}; it must be a function of training clips (N, D), "
            "their classes (N,) and test clips (Q, D)"
        )
    return name, code.sources.hash


def build_own_scorer(name: str, num_classes: int) -> Scorer:
    """Hands single clips to the function `name`; the mean of the scores of its clips is that of a video."""
    code, probe = get_member(name, KIND)

    def score(
        train_NVD: np.ndarray, class_N: np.ndarray, test_QVD: np.ndarray, grid: Sequence[Hyperparameters]
    ) -> np.ndarray:
        class_B = class_N.repeat(train_NVD.shape[1])
        train_BD, test_BD = (x.reshape(-1, x.shape[2]) for x in (train_NVD, test_QVD))
        with explain_errors(f"probe '{name}' failed", code.sources):
            made = probe(train_BD, class_B, test_BD)
        scores_BC = read_scores(made, len(test_BD), num_classes, f"{find_line(code, name)}: probe '{name}'")
        return scores_BC.reshape(1, *test_QVD.shape[:2], num_classes).mean(axis=2)

    return score


def find_line(code: OwnCode, name: str) -> str:
    """Where a probe is defined."""
    return code.find_line(split_name(name, KIND)[1])


def read_scores(made: Any, num_clips: int, num_classes: int, place: str) -> np.ndarray:
    """What a probe returned, as scores float64 (Q, C); classes become 0 and 1. Raises OwnCodeError.

    >>> read_scores([1, 0], 2, 3, "probe").tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    values = np.asarray(made)
    if values.shape == (num_clips,) and np.issubdtype(values.dtype, np.integer):
        if values.min() < 0 or values.max() >= num_classes:
            raise OwnCodeError(f"{place} returns classes beyond 0 to {num_classes - 1}; {EXPECTED}")
        return np.eye(num_classes)[values]
    if values.shape != (num_clips, num_classes):
        raise OwnCodeError(f"{place} returns {values.dtype} {values.shape}, Q={num_clips}, C={num_classes}; {EXPECTED}")
    if not np.isfinite(scores := values.astype(np.float64)).all():
        raise OwnCodeError(f"{place} returns scores that are not finite")
    return scores
