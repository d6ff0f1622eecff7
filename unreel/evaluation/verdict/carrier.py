"""Which of motion and looks tells the classes of labelled videos."""

from collections.abc import Mapping, Sequence

import numpy as np

from unreel.evaluation.baselines.appearance import BOTH
from unreel.evaluation.metrics.bootstrap import bootstrap_interval
from unreel.models.encoder.spec import APPEARANCE


def describe_carrier(column: str, scores: Mapping[str, np.ndarray], own: str, groups: Sequence[str]) -> str:
    """Which of motion and looks tells the classes of these videos, from the scores (Q,) of test videos in percent by
    row; `own` is the encoder's row. "" without an image model."""
    if own not in scores or APPEARANCE not in scores or BOTH not in scores:
        return ""
    motion_Q, looks_Q = scores[own], scores[APPEARANCE]
    low, high = bootstrap_interval(looks_Q - motion_Q, groups if any(groups) else None)
    figures = ", ".join(f"{name} {scores[row].mean():.1f} %" for name, row in (("looks", APPEARANCE), ("motion", own)))
    if round(low, 1) > 0:
        headline = "Looks carry these videos"
    elif round(high, 1) < 0:
        headline = "Motion carries these videos"
    else:
        headline = "Neither looks nor motion is shown to carry these videos alone"
    return (
        f"{headline}: {column} by {figures}, both {scores[BOTH].mean():.1f} % (looks minus motion "
        f"{(looks_Q - motion_Q).mean():+.1f} points, 95 % interval {low:+.1f} to {high:+.1f})."
    )
