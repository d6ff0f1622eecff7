"""The slider between two kinds of parts: appearance and motion, or a clip and its series.

Where a frozen image model is the part "appearance", everything of the encoder stands at the other end.
"""

from collections.abc import Sequence

import numpy as np

from unreel.errors import InputError
from unreel.models.encoder.spec import APPEARANCE
from unreel.views.view_spec import VIEWS

HEAD_ENDS = {"clip": 0, "series": 1}


def make_slider_weights(motion: float) -> np.ndarray:
    """Weights (2,) of the left and the right end of a slider: of appearance and motion, e.g."""
    if not 0 <= motion <= 1:
        raise InputError(f"the weight of motion is between 0 and 1, got {motion:g}")
    return np.array([1 - motion, motion])


def list_slider_ends(views: Sequence[str]) -> list[int]:
    """The end of the slider at which each part stands, 0 or 1."""
    if APPEARANCE in views:
        return [int(name != APPEARANCE) for name in views]
    return [HEAD_ENDS[name] if name in HEAD_ENDS else int(VIEWS[name].shows_motion) for name in views]


def compute_view_weights(views: Sequence[str], motion_weight: float) -> np.ndarray:
    """The weight (V,) of each view for a position of the slider; equal weights where all views are of one kind."""
    ends, weight_2 = list_slider_ends(views), make_slider_weights(motion_weight)
    if find_slider_ends(views) is None:
        return np.ones(len(ends))
    return np.array([weight_2[end] / ends.count(end) for end in ends])


def find_slider_ends(views: Sequence[str]) -> tuple[str, str] | None:
    """Names of the two ends of the slider; None where all views are of one kind."""
    if len(set(list_slider_ends(views))) < 2:
        return None
    if APPEARANCE in views:
        return ("appearance", "motion")
    return ("the clip", "its series") if "series" in views else ("appearance", "motion")
