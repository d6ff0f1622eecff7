"""The verdict with labels: R@1 of the encoder against every baseline, on the same test videos."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unreel.evaluation.baselines.appearance import DESCRIPTIONS
from unreel.evaluation.baselines.chance import CHANCE
from unreel.evaluation.verdict.decision import Verdict, compare_with_floors
from unreel.evaluation.video_features import ENCODER, JOINT
from unreel.io.text import format_count


def judge_with_labels(
    column: str, scores: Mapping[str, np.ndarray], baselines: Sequence[str], groups: Sequence[str]
) -> Verdict:
    """Verdict by one column of a table: scores (Q,) in percent of Q test videos by row, the names of the rows that are
    baselines, and the groups of the videos. An image model beside the encoder is not what it has to beat.

    The encoder's row is all views joined, else its first view, not the row with the best figure.
    """
    own = choose_own_row(scores, baselines)
    floors = {row: scores[row] for row in baselines if row not in (CHANCE, *DESCRIPTIONS) and row in scores}
    num_videos = len(scores[own]) if own else 0
    comparisons = compare_with_floors(f"{column}, {own}", scores[own], floors, groups) if own and floors else []
    return Verdict(tuple(comparisons), f"{format_count(num_videos, 'test video')} with labels")


def choose_own_row(rows: Iterable[str], baselines: Sequence[str]) -> str:
    """The row that stands for the encoder: all views joined, else its first view, not the one with the best figure."""
    own_rows = [row for row in rows if row not in (*baselines, *DESCRIPTIONS)]
    return next((row for row in (JOINT, ENCODER) if row in own_rows), own_rows[0] if own_rows else "")


def read_labelled_verdict(extras: dict[str, Any]) -> Verdict | None:
    """The verdict of a table with labels; None for tables of older versions and of other evaluations."""
    try:
        return Verdict.from_json(extras["verdict"])
    except (KeyError, TypeError, AttributeError):
        return None
