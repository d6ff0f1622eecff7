"""Nearest neighbours of each row in other videos, and outliers: rows far from all of them."""

from dataclasses import dataclass

import numpy as np

from unreel.indexing.index.nearest_rows import NearestRows
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.vectors import iterate_blocks


@dataclass(frozen=True)
class NeighbourTable:
    """Scores float32 and rows int64 (N, K) of the nearest neighbours of each row in other videos, best first.

    Where fewer than K are found, the row is -1 and the score that of the last row examined, an upper bound.
    """

    score_NK: np.ndarray
    row_NK: np.ndarray


def find_neighbours(ann_index: NearestRows, vectors_ND: np.ndarray, rows: RowTable, k: int = 10) -> NeighbourTable:
    """The `k` nearest neighbours of each row in other videos, since a video resembles itself.

    They are taken from the 3k + 32 nearest rows; a video with more similar clips leaves gaps (see `NeighbourTable`).
    """
    scores, rows_found = [], []
    for start, block in iterate_blocks(vectors_ND):
        score_nK, row_nK = ann_index.search(block, 3 * k + 32)
        own_nK = rows.path_N[row_nK] == rows.path_N[start : start + len(block), None]
        order_nK = np.argsort(own_nK, axis=1, kind="stable")[:, :k]
        gap_nK = np.take_along_axis(own_nK, order_nK, axis=1)
        row_nK = np.where(gap_nK, -1, np.take_along_axis(row_nK, order_nK, axis=1))
        scores.append(np.where(gap_nK, score_nK[:, -1:], np.take_along_axis(score_nK, order_nK, axis=1)))
        rows_found.append(row_nK)
    return NeighbourTable(np.concatenate(scores), np.concatenate(rows_found))


def score_outliers(neighbours: NeighbourTable) -> np.ndarray:
    """Mean cosine distance of each row to its neighbours in other videos, float32 (N,); large for outliers.

    Source: Angiulli and Pizzuti 2002 (distance to the k nearest as a score of outliers).
    """
    return (1 - neighbours.score_NK.mean(axis=1)).astype(np.float32)
