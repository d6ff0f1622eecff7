"""From scores to probabilities that mean what they say, and the least one that is an answer, for clips and for videos.

The scores of a clip are divided by a temperature. A video gets the mean of the probabilities of its clips, as in
`unreel evaluate`, and then a second temperature: the mean of ten clips is less sure than it is right. A threshold
belongs to each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from unreel.classification.held_out_scores import ScoredVideos
from unreel.evaluation.probes.temperature import fit_temperature, scale_log_probabilities

Unit = Literal["clip", "video"]
UNITS: tuple[Unit, ...] = ("clip", "video")
LOST_WITHOUT_MEASURE = 0.05  # share of the right answers that the threshold gives up where it can't be measured
MOST_LOST = 0.2  # share of the right answers that it gives up at most: an answer that is missing is an error too


@dataclass(frozen=True)
class Calibration:
    """The temperatures of the scores, and the probability from which an answer counts.

    `clip_temperature` is that of the clips of a video before their mean; a single clip has `temperature` alone.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    clip_temperature: float = 1.0

    def calibrate_clips(self, log_p_NC: np.ndarray) -> np.ndarray:
        """Probabilities float64 (N, C) of clips, each by itself."""
        return np.exp(scale_log_probabilities(log_p_NC, self.temperature))

    def calibrate_video(self, log_p_VC: np.ndarray) -> np.ndarray:
        """Probabilities float64 (C,) of a video from its V clips."""
        return self.calibrate_clips(average_clips(log_p_VC[None], self.clip_temperature))[0]


class Answers(NamedTuple):
    """Of each answer (N,): its probability, and whether it is right; of a video of none of the classes never."""

    confidence_N: np.ndarray
    is_right_N: np.ndarray


def average_clips(log_p_NVC: np.ndarray, clip_temperature: float) -> np.ndarray:
    """Log of the mean probability of the clips of each video, (N, C).

    >>> np.exp(average_clips(np.log([[[0.9, 0.1], [0.5, 0.5]]]), 1.0)).round(2).tolist()
    [[0.7, 0.3]]
    """
    num_videos, num_clips, num_classes = log_p_NVC.shape
    p_BC = np.exp(scale_log_probabilities(log_p_NVC.reshape(-1, num_classes), clip_temperature))
    mean_NC = p_BC.reshape(num_videos, num_clips, num_classes).mean(axis=1)
    return np.asarray(np.log(np.maximum(mean_NC, 1e-30)))


def flatten_unit(scored: ScoredVideos, unit: Unit, clip_temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (N, C) and classes (N,) of all clips, or of the videos, not calibrated further."""
    if unit == "video":
        return average_clips(scored.log_p_NVC, clip_temperature), scored.class_N
    num_clips = scored.log_p_NVC.shape[1]
    return scored.log_p_NVC.reshape(-1, scored.log_p_NVC.shape[2]), scored.class_N.repeat(num_clips)


def list_answers(scored: ScoredVideos, unit: Unit, calibration: Calibration) -> Answers:
    """The likeliest class of each clip or video, with its calibrated probability."""
    log_p_NC, class_N = flatten_unit(scored, unit, calibration.clip_temperature)
    p_NC = calibration.calibrate_clips(log_p_NC)
    return Answers(p_NC.max(axis=1), p_NC.argmax(axis=1) == class_N)


def fit_temperatures(held_out: ScoredVideos, unit: Unit) -> Calibration:
    """The temperature of clips; for videos that of their mean too. Without a threshold."""
    clip = fit_temperature(*flatten_unit(held_out, "clip"), len(held_out))
    if unit == "clip":
        return Calibration(clip)
    return Calibration(fit_temperature(*flatten_unit(held_out, "video", clip), len(held_out)), clip_temperature=clip)


def fit_calibration(
    held_out: ScoredVideos, unknown: Sequence[ScoredVideos], unit: Unit
) -> tuple[Calibration, dict[str, Any]]:
    """The temperature and threshold of clips or videos from those held out, and how the threshold was found."""
    if not len(held_out):
        return Calibration(), {"rule": "none: no video could be held out"}
    fitted = fit_temperatures(held_out, unit)
    answers = list_answers(held_out, unit, fitted)
    right_n = np.sort(answers.confidence_N[answers.is_right_N])
    lost, found = choose_lost_share(unknown, unit, fitted)
    threshold = float(np.quantile(right_n, lost, method="lower")) if len(right_n) else 0.0
    found |= {f"kept_{name}": share for name, share in share_kept(answers, threshold).items()}
    return replace(fitted, threshold=threshold), found


def share_kept(answers: Answers, threshold: float) -> dict[str, float | None]:
    """The shares of right and of wrong answers at or above a threshold, in percent; None where there are none."""
    kinds = {"right": answers.is_right_N, "wrong": ~answers.is_right_N}
    is_kept_N = answers.confidence_N >= threshold
    return {n: round(100 * float(is_kept_N[kind].mean()), 2) if kind.any() else None for n, kind in kinds.items()}


def choose_lost_share(
    unknown: Sequence[ScoredVideos], unit: Unit, calibration: Calibration
) -> tuple[float, dict[str, Any]]:
    """The share of right answers to give up so that classes never seen are turned away; and what it gives.

    It is where the mean of two shares is largest: right answers kept, and answers to classes never seen turned away;
    but at most `MOST_LOST`. Wrong answers to known classes count on neither side. A share is carried over, not the
    threshold itself, since the heads of this measurement know fewer classes and are surer.
    """
    right_n, strange_n = split_unknown(unknown, unit, calibration)
    if not len(right_n) or not len(strange_n):
        rule = f"gives up {100 * LOST_WITHOUT_MEASURE:.0f} % of the right answers to videos held out"
        return LOST_WITHOUT_MEASURE, {"rule": rule}
    level_k = np.unique(np.concatenate([right_n, strange_n]))
    lost_k = np.searchsorted(right_n, level_k) / len(right_n)
    away_k = np.searchsorted(strange_n, level_k) / len(strange_n)
    best = int(np.where(lost_k <= MOST_LOST, away_k - lost_k, -1).argmax())
    found = {
        "rule": "classes held out in turn: largest mean of right answers kept and unseen classes turned away, giving "
        f"up at most {100 * MOST_LOST:.0f} % of the right ones",
        "turned_away": round(100 * float(away_k[best]), 2),
        "auroc": round(100 * compute_auroc(right_n, strange_n), 2),
        "unseen": len(strange_n),
    }
    return float(lost_k[best]), found


def compute_auroc(high_n: np.ndarray, low_n: np.ndarray) -> float:
    """How often a number of the first, ascending, is above one of the second; equal ones count half.

    >>> compute_auroc(np.array([0.5, 0.9]), np.array([0.1, 0.5]))
    0.875
    """
    below = (np.searchsorted(high_n, low_n, side) for side in ("left", "right"))
    return float(1 - np.mean(sum(below)) / (2 * len(high_n)))


def split_unknown(
    unknown: Sequence[ScoredVideos], unit: Unit, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, ascending, of right answers (n,) and of answers to videos of classes never seen (n,)."""
    right, strange = [np.zeros(0)], [np.zeros(0)]
    for scored in unknown:
        answers = list_answers(scored, unit, calibration)
        right.append(answers.confidence_N[answers.is_right_N])
        strange.append(answers.confidence_N[flatten_unit(scored, unit)[1] < 0])
    return np.sort(np.concatenate(right)), np.sort(np.concatenate(strange))
