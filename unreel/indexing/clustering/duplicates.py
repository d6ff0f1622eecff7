"""Near-duplicates: pairs of videos with clips that show the same."""

from dataclasses import dataclass

import numpy as np

from unreel.indexing.clustering.outliers import NeighbourTable
from unreel.indexing.index.row_table import RowTable


@dataclass(frozen=True)
class DuplicatePair:
    """The most similar clips of two videos, and the number of similar pairs of clips in these videos."""

    row: int
    other_row: int
    score: float
    num_pairs: int


def find_duplicates(neighbours: NeighbourTable, rows: RowTable, threshold: float | None = None) -> list[DuplicatePair]:
    """Pairs of videos with clips whose cosine is at least `threshold`, best first.

    The default depends on the encoder: duplicates are 20 times nearer than the median row's nearest neighbour. Give a
    threshold when most rows have a duplicate.
    """
    if threshold is None:
        threshold = 1 - float(np.median(1 - neighbours.score_NK[:, 0])) / 20
    row, column = np.nonzero((neighbours.score_NK >= threshold) & (neighbours.row_NK >= 0))
    other, score = neighbours.row_NK[row, column], neighbours.score_NK[row, column]
    low, high = np.minimum(row, other), np.maximum(row, other)
    order = np.lexsort((high, low, -score))
    row, other, score = low[order], high[order], score[order]
    _, first = np.unique(np.stack([row, other]), axis=1, return_index=True)
    keep = np.sort(first)  # each pair once, in the same order
    row, other, score = row[keep], other[keep], score[keep]
    videos = np.sort(np.stack([rows.path_N[row], rows.path_N[other]]), axis=0)
    _, best, count = np.unique(videos, axis=1, return_index=True, return_counts=True)
    pairs = [
        DuplicatePair(int(row[b]), int(other[b]), float(score[b]), int(c)) for b, c in zip(best, count, strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-pair.score, pair.row, pair.other_row))
