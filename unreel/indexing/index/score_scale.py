"""What the likeness of a hit is worth in one index: how like its rows are to the third nearest of the other videos.

Cosines of an encoder lie close together, and how close differs from index to index: the neighbours of a moment have a
likeness of 0.85 in one and of 0.95 in another. So a hit is compared with the third video that a search by some moment
of the index finds. Not with the first: where a video has near copies, nothing else is as close.
The scale is measured when the index is built, on some of its rows, and kept beside it.
"""

import json
from bisect import bisect_left
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from unreel.indexing.index.query_vector import weight_parts
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.vectors import iterate_blocks
from unreel.io.atomic_write import atomic_write_text
from unreel.io.text import build_from_json, parse_json
from unreel.models.encoder.row_parts import RowParts
from unreel.models.encoder.view_weights import find_slider_ends

NUM_ROWS = 256  # whose neighbours are looked for
NEIGHBOUR = 3  # the third nearest of the other videos, or the last where there are fewer
NUM_TYPICAL_ROWS = 256  # evenly spread rows whose mean score is that of a typical row
SLIDER_POSITIONS = (0.0, 0.5, 1.0)
FloatOrArray: TypeAlias = Any  # a float or an array of them


@dataclass(frozen=True)
class ScoreScale:
    """The likeness of rows to the third nearest of the other videos, ascending, for positions of the slider.

    It belongs to the rows with this fingerprint.
    """

    fingerprint: str
    likeness: dict[str, list[float]]
    neighbour: int = NEIGHBOUR

    def compute_percentile(self, likeness: float, motion_weight: float) -> float:
        """The percentage of rows that are less like the third nearest of the other videos.

        >>> ScoreScale("", {"0": [0.2, 0.4, 0.6, 0.8], "1": [0.1, 0.2]}).compute_percentile(0.5, motion_weight=0.5)
        75.0
        """
        positions = sorted(self.likeness, key=float)
        shares = [bisect_left(self.likeness[p], likeness) / len(self.likeness[p]) for p in positions]
        return 100.0 * float(np.interp(motion_weight, [float(p) for p in positions], shares))

    def save(self, path: Path) -> None:
        """Raises DiskError."""
        atomic_write_text(path, json.dumps(asdict(self)) + "\n")


def load_scale(path: Path, fingerprint: str) -> ScoreScale | None:
    """The scale of the rows with this fingerprint; None where there is none that can be used."""
    try:
        data = {"neighbour": 1} | parse_json(path.read_text())  # earlier versions took the nearest
        scale = build_from_json(ScoreScale, data)
        usable = (scale.fingerprint, scale.neighbour) == (fingerprint, NEIGHBOUR) and all(
            values and 0 <= float(position) <= 1 and values == sorted(map(float, values))
            for position, values in scale.likeness.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return scale if usable else None


def measure_scale(vectors_ND: np.ndarray, rows: RowTable, parts: RowParts, fingerprint: str) -> ScoreScale:
    """The scale of an index; without measurements where all rows have one content, e.g. an index of one video."""
    positions = sorted({*SLIDER_POSITIONS, parts.motion_weight}) if find_slider_ends(parts.names) else [0.5]
    if len(rows.content_hashes) < 2:
        return ScoreScale(fingerprint, {})
    rng = np.random.default_rng(0)
    row_Q = np.sort(rng.choice(len(rows), min(NUM_ROWS, len(rows)), replace=False))
    query_QD = np.asarray(vectors_ND[row_Q], np.float32)
    measured = {}
    for position in positions:
        weighted_QD = weight_parts(query_QD, position, parts)
        typical_Q = (np.asarray(vectors_ND[spread_rows(rows)], np.float32) @ weighted_QD.T).mean(axis=0)
        score_Q = find_neighbour_score(vectors_ND, rows, weighted_QD, row_Q)
        measured[f"{position:g}"] = np.sort(compute_likeness(score_Q, typical_Q)).round(5).tolist()
    return ScoreScale(fingerprint, measured)


def find_neighbour_score(vectors_ND: np.ndarray, rows: RowTable, query_QD: np.ndarray, row_Q: np.ndarray) -> np.ndarray:
    """The score (Q,) of the nearest row of the third nearest of the other contents, for queries made from rows."""
    count = min(NEIGHBOUR, len(rows.content_hashes) - 1)
    best_KQ, content_KQ = np.full((count, len(row_Q)), -np.inf), np.full((count, len(row_Q)), -1)
    for start, block in iterate_blocks(vectors_ND):
        content_C, score_CQ = find_content_scores(block @ query_QD.T, rows.content_N[start : start + len(block)])
        score_CQ[content_C[:, None] == rows.content_N[row_Q][None]] = -np.inf
        may_be_best_C = (score_CQ > best_KQ[-1]).any(axis=1)
        if not may_be_best_C.any():
            continue
        content_C, score_CQ = content_C[may_be_best_C], score_CQ[may_be_best_C]
        nearest_KQ = np.argpartition(-score_CQ, min(count, len(score_CQ)) - 1, axis=0)[:count]
        best_KQ, content_KQ = keep_best_contents(
            np.concatenate([best_KQ, np.take_along_axis(score_CQ, nearest_KQ, axis=0)]),
            np.concatenate([content_KQ, content_C[nearest_KQ]]),
            count,
        )
    return best_KQ[-1]


def find_content_scores(score_NQ: np.ndarray, content_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The contents (C,) among these rows, and the best score (C, Q) of each."""
    order = np.argsort(content_N, kind="stable")
    content_C, first_C = np.unique(content_N[order], return_index=True)
    return content_C, np.maximum.reduceat(score_NQ[order], first_C, axis=0)


def keep_best_contents(score_MQ: np.ndarray, content_MQ: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The best `count` of the scores, best first, and their contents; a content counts once, with its best score."""
    order = np.argsort(-score_MQ, axis=0, kind="stable")
    score_MQ, content_MQ = (np.take_along_axis(values, order, axis=0) for values in (score_MQ, content_MQ))
    is_same_MMQ = content_MQ[:, None] == content_MQ[None]
    is_again_MQ = np.tril(is_same_MMQ.transpose(2, 0, 1), -1).any(axis=2).T
    order = np.argsort(is_again_MQ, axis=0, kind="stable")[:count]
    score_MQ = np.where(is_again_MQ, -np.inf, score_MQ)
    return np.take_along_axis(score_MQ, order, axis=0), np.take_along_axis(content_MQ, order, axis=0)


def compute_likeness(score: FloatOrArray, typical_score: FloatOrArray) -> FloatOrArray:
    """Scores on a scale where 0 is a typical score and 1 that of the query itself; 0 where all rows are alike."""
    if isinstance(score, float) and isinstance(typical_score, float):  # of a single hit; NumPy takes ten times as long
        return (score - typical_score) / (1 - typical_score) if typical_score < 1 else 0.0
    above = 1 - np.asarray(typical_score)
    likeness: FloatOrArray = np.where(above > 0, (score - typical_score) / np.where(above > 0, above, 1), 0.0)
    return likeness


def spread_rows(rows: RowTable) -> np.ndarray:
    """The numbers of rows whose mean score is that of a typical row."""
    return np.linspace(0, len(rows) - 1, NUM_TYPICAL_ROWS).astype(np.int64)
