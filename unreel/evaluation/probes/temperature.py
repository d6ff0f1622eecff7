"""Temperature scaling: one number that makes the probabilities of a classifier mean what they say.

p = softmax(log p0 / T). Source: Guo, Pleiss, Sun and Weinberger 2017. The answer stays the same, and one number can be
learned from a few dozen videos; isotonic regression has one curve for each class, which needs hundreds of each
(docs/classify.md has both, measured). Where we deviate: targets are smoothed as Platt 1999 does, since N right answers
of N do not show that the next is right for sure.
"""

import numpy as np

LIMITS = (0.05, 20.0)
LEAST_LOG = -30.0  # of a probability that is 0


def fit_temperature(log_p_NC: np.ndarray, class_N: np.ndarray, num_videos: int) -> float:
    """The temperature with the least cross-entropy on answers (N, C) of `num_videos` videos that training did not see.

    The true class counts with (n + 1) / (n + 2) for n videos, the others share the rest. The loss is convex in 1 / T.
    """
    from scipy.optimize import minimize_scalar

    target_NC = make_targets(class_N, log_p_NC.shape[1], num_videos)
    log_p_NC = np.maximum(log_p_NC.astype(np.float64), LEAST_LOG)

    def measure_loss(log_temperature: float) -> float:
        return -float((target_NC * scale_log_probabilities(log_p_NC, np.exp(log_temperature))).sum())

    found = minimize_scalar(measure_loss, bounds=tuple(np.log(LIMITS)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def make_targets(class_N: np.ndarray, num_classes: int, num_videos: int) -> np.ndarray:
    """Smoothed targets (N, C), each row 1 in all."""
    rest = 1 / (num_videos + 2)
    target_NC = np.full((len(class_N), num_classes), rest / max(1, num_classes - 1))
    target_NC[np.arange(len(class_N)), class_N] = 1 - rest
    return target_NC


def scale_log_probabilities(log_p_NC: np.ndarray, temperature: float) -> np.ndarray:
    """log softmax(log p / T), float64 (N, C).

    >>> np.exp(scale_log_probabilities(np.log([[0.8, 0.2]]), 2.0)).round(3).tolist()
    [[0.667, 0.333]]
    """
    scaled_NC = np.maximum(log_p_NC.astype(np.float64), LEAST_LOG) / temperature
    scaled_NC = scaled_NC - scaled_NC.max(axis=1, keepdims=True)
    return np.asarray(scaled_NC - np.log(np.exp(scaled_NC).sum(axis=1, keepdims=True)))
