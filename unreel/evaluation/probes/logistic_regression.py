"""scikit-learn's logistic regression (L2, lbfgs), without its remarks on data that are small on purpose."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


def fit_logistic_regression(
    x_ND: np.ndarray, labels_N: Any, c: float, max_iter: int, weight_N: np.ndarray | None = None
) -> "LogisticRegression":
    """Fitted to features and labels, each row with its weight, or 1.

    One video a class makes it no regression, and a fit that is hardly regularised may end at `steps`, near enough.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        return LogisticRegression(C=c, max_iter=max_iter).fit(x_ND, np.asarray(labels_N), weight_N)
