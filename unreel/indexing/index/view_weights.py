"""The slider between two kinds of views: appearance and motion, or a clip and its series."""

from collections.abc import Sequence

import numpy as np

from unreel.indexing.index.query_vector import make_slider_weights
from unreel.views.view_spec import VIEWS

SLIDER_END = {name: int(view.shows_motion) for name, view in VIEWS.items()} | {"clip": 0, "series": 1}  # or of a head


def compute_view_weights(views: Sequence[str], motion_weight: float) -> np.ndarray:
    """The weight (V,) of each view for a position of the slider; equal weights where all views are of one kind."""
    ends, weight_2 = [SLIDER_END[name] for name in views], make_slider_weights(motion_weight)
    if find_slider_ends(views) is None:
        return np.ones(len(ends))
    return np.array([weight_2[end] / ends.count(end) for end in ends])


def find_slider_ends(views: Sequence[str]) -> tuple[str, str] | None:
    """Names of the two ends of the slider; None where all views are of one kind."""
    if len({SLIDER_END[name] for name in views}) < 2:
        return None
    return ("the clip", "its series") if "series" in views else ("appearance", "motion")
