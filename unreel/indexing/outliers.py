"""What is odd (few others are near) and what is doubled (another video shows the same), from one pass of neighbours."""

from dataclasses import dataclass

import numpy as np

from unreel.indexing.index.ann_index import AnnIndex
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.vectors import iterate_blocks


@dataclass(frozen=True)
class NeighbourTable:
    """Scores float32 and rows int64 (N, K) of the nearest of each row in other videos, best first.

    Where fewer than K were found, the row is -1 and the score that of the last that was looked at: no other is nearer
    than that.
    """

    score_NK: np.ndarray
    row_NK: np.ndarray


def find_neighbours(ann_index: AnnIndex, vectors_ND: np.ndarray, rows: RowTable, k: int = 10) -> NeighbourTable:
    """The `k` nearest of each row in other videos: a video is like itself, one of a camera that stands still all day.

    Rows of its own video are left out of 3k + 32 nearest; a video with more clips alike leaves gaps (see `Neighbours`).
    """
    scores, found = [], []
    for start, block in iterate_blocks(vectors_ND):
        score_nK, row_nK = ann_index.search(block, 3 * k + 32)
        own_nK = rows.path_N[row_nK] == rows.path_N[start : start + len(block), None]
        order_nK = np.argsort(own_nK, axis=1, kind="stable")[:, :k]
        gap_nK = np.take_along_axis(own_nK, order_nK, axis=1)
        row_nK = np.where(gap_nK, -1, np.take_along_axis(row_nK, order_nK, axis=1))
        scores.append(np.where(gap_nK, score_nK[:, -1:], np.take_along_axis(score_nK, order_nK, axis=1)))
        found.append(row_nK)
    return NeighbourTable(np.concatenate(scores), np.concatenate(found))


def score_outliers(neighbours: NeighbourTable) -> np.ndarray:
    """Mean cosine distance of each row to its nearest in other videos, float32 (N,): the greater, the odder.

    Source: Angiulli and Pizzuti 2002 (distance to the k nearest as a score of outliers).
    """
    return (1 - neighbours.score_NK.mean(axis=1)).astype(np.float32)


@dataclass(frozen=True)
class DuplicatePair:
    """Two clips that show the same, the best pair of their two videos, and how many pairs of these videos do."""

    row: int
    other_row: int
    score: float
    num_pairs: int


def find_duplicates(neighbours: NeighbourTable, rows: RowTable, threshold: float | None = None) -> list[DuplicatePair]:
    """Pairs of videos with clips whose cosine is `above` or more, best first.

    How near neighbours usually are depends on the encoder, so by default a double is 20 times nearer than the median
    row's nearest; where most rows have a double, give `above`.
    """
    if threshold is None:
        threshold = 1 - float(np.median(1 - neighbours.score_NK[:, 0])) / 20
    row, place = np.nonzero((neighbours.score_NK >= threshold) & (neighbours.row_NK >= 0))
    other, score = neighbours.row_NK[row, place], neighbours.score_NK[row, place]
    low, high = np.minimum(row, other), np.maximum(row, other)
    order = np.lexsort((high, low, -score))
    row, other, score = low[order], high[order], score[order]
    _, first = np.unique(np.stack([row, other]), axis=1, return_index=True)
    keep = np.sort(first)  # each pair once, still best first
    row, other, score = row[keep], other[keep], score[keep]
    videos = np.sort(np.stack([rows.path_N[row], rows.path_N[other]]), axis=0)
    _, best, count = np.unique(videos, axis=1, return_index=True, return_counts=True)
    made = [
        DuplicatePair(int(row[b]), int(other[b]), float(score[b]), int(c)) for b, c in zip(best, count, strict=True)
    ]
    return sorted(made, key=lambda double: (-double.score, double.row, double.other_row))
