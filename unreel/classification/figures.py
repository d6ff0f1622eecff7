"""What a classifier's answers are worth: accuracy, calibration, and what the threshold does, as plain JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unreel.classification.calibration import Answers, Calibration, Unit, flatten_unit, list_answers
from unreel.classification.held_out_scores import ScoredVideos
from unreel.evaluation.metrics.accuracy import compute_confusion
from unreel.evaluation.metrics.bootstrap import bootstrap_interval
from unreel.evaluation.metrics.calibration import compute_reliability, simulate_ece


def measure_unit(scored: ScoredVideos, calibration: Calibration, unit: Unit) -> dict[str, Any]:
    """Accuracy and ECE of clips or of videos in percent, before and after the temperature, and the threshold's effect.

    `exact_ece` is what exact probabilities would show on so many answers: the mean, and where 95 % of draws lie. For
    clips, which are not independent, it is too low.
    """
    answers = list_answers(scored, unit, calibration)
    before = list_answers(scored, unit, Calibration())  # every temperature 1
    groups = [i.group for i in scored.instances]
    repeats = len(answers.confidence_N) // max(1, len(scored))
    by_video_V = answers.is_right_N.reshape(-1, repeats).mean(axis=1)
    reliability = compute_reliability(answers.confidence_N, answers.is_right_N)
    return {
        "videos": len(scored),
        "answers": len(answers.confidence_N),
        "accuracy": round(100 * float(answers.is_right_N.mean()), 2),
        "accuracy_interval": [round(end, 2) for end in bootstrap_interval(100 * by_video_V, groups)],
        "confidence": round(100 * float(answers.confidence_N.mean()), 2),
        "ece_before": round(compute_reliability(*before).ece, 2),
        "ece": round(reliability.ece, 2),
        "exact_ece": [round(value, 2) for value in simulate_ece(answers.confidence_N)],
        "log_loss": round(measure_log_loss(scored, calibration, unit), 4),
        "bins": {
            "count": reliability.count_K.tolist(),
            "confidence": np.round(reliability.confidence_K, 4).tolist(),
            "accuracy": np.round(reliability.accuracy_K, 4).tolist(),
        },
        **measure_threshold(answers, calibration.threshold),
    }


def measure_log_loss(scored: ScoredVideos, calibration: Calibration, unit: Unit) -> float:
    """Mean of -log p of the true class, over those of a known class."""
    log_p_NC, class_N = flatten_unit(scored, unit, calibration.clip_temperature)
    known = class_N >= 0
    p_n = calibration.calibrate_clips(log_p_NC[known])[np.arange(known.sum()), class_N[known]]
    return float(-np.log(np.maximum(p_n, 1e-12)).mean()) if known.any() else 0.0


def measure_threshold(answers: Answers, threshold: float) -> dict[str, Any]:
    """The share of answers that the threshold keeps, and how many of those are right, in percent."""
    kept_N = answers.confidence_N >= threshold
    right = 100 * float(answers.is_right_N[kept_N].mean()) if kept_N.any() else None
    return {"kept": round(100 * float(kept_N.mean()), 2), "kept_accuracy": None if right is None else round(right, 2)}


def count_confusion(scored: ScoredVideos, classes: Sequence[str], calibration: Calibration) -> dict[str, Any]:
    """How many videos of each class were taken for each class, without the threshold."""
    log_p_QC, _ = flatten_unit(scored, "video", calibration.clip_temperature)
    return compute_confusion(log_p_QC, classes, [i.label for i in scored.instances])
