"""Logistic regression on standardised features, by scikit-learn (L2, lbfgs)."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

MIN_RELATIVE_STD = 1e-6  # a feature that varies less than this share of its mean is constant but for rounding
MAX_ITER = 1000  # of lbfgs, at most


def fit_logistic_regression(
    x_ND: np.ndarray, labels_N: Any, c: float, max_iter: int, weight_N: np.ndarray | None = None
) -> "LogisticRegression":
    """Fitted to features and labels, each row with its weight (1 by default).

    Two of scikit-learn's warnings are silenced, since small data are normal here: one video a class looks like
    regression to it, and a fit with little regularisation may end at `max_iter`, close enough to the optimum.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        return LogisticRegression(C=c, max_iter=max_iter).fit(x_ND, np.asarray(labels_N), weight_N)


class Standardizer(NamedTuple):
    """Subtracts the mean (D,) and divides by the scale (D,), float64."""

    mean_D: np.ndarray
    scale_D: np.ndarray

    def __call__(self, x_ND: np.ndarray) -> np.ndarray:
        return np.asarray((x_ND - self.mean_D) / self.scale_D)


def fit_standardizer(train_ND: np.ndarray, min_std: float = 0.0, min_relative_std: float = 0.0) -> Standardizer:
    """Mean and deviation of the training videos, times sqrt(D), so that C means the same for every width.

    Features whose deviation is not above `min_std`, or above that share of their mean, become 0.
    """
    mean_D, std_D = train_ND.mean(axis=0, dtype=np.float64), train_ND.std(axis=0, dtype=np.float64)
    least_D = np.maximum(min_std, min_relative_std * np.maximum(np.abs(mean_D), 1e-12))
    return Standardizer(mean_D, np.where(std_D > least_D, std_D, np.inf) * np.sqrt(train_ND.shape[1]))


def fit_in_span(
    train_ND: np.ndarray, labels: Sequence[str], c: float, max_iter: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression that maps features (Q, D) to labels (Q,).

    With fewer videos than features it is fitted in the span of the training videos, which contains every solution.
    """
    if len(train_ND) >= train_ND.shape[1]:
        model = fit_logistic_regression(train_ND, labels, c, max_iter)
        return lambda query_QD: np.asarray(model.predict(query_QD))
    basis_DN = np.linalg.qr(train_ND.T)[0]
    model = fit_logistic_regression(train_ND @ basis_DN, labels, c, max_iter)
    return lambda query_QD: np.asarray(model.predict(query_QD @ basis_DN))


def fit_linear_probe(train_ND: np.ndarray, labels: Sequence[str], c: float) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression on features standardised by the training videos; maps features (Q, D) to labels (Q,).

    A ridge classifier would be faster, but it never predicts the middle one of three classes that lie on a line, as
    classes do that differ by speed.
    """
    if len(set(labels)) < 2:
        return lambda query_QD: np.repeat(np.array(labels[:1]), len(query_QD))
    standardize = fit_standardizer(train_ND, min_relative_std=MIN_RELATIVE_STD)
    predict = fit_in_span(standardize(train_ND), labels, c, MAX_ITER)
    return lambda query_QD: predict(standardize(query_QD))
