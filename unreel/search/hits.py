"""From nearest rows to hits: neighbouring clips of one event are one hit, near-duplicates stand under the best."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unreel.search.nearest import Nearest
from unreel.search.rows import Rows


@dataclass(frozen=True)
class Hit:
    """One event found: where it is, its best score, its rows best first, and the near-duplicates folded under it."""

    path: str
    start_s: float
    end_s: float
    score: float
    rows: tuple[int, ...]
    alike: tuple["Hit", ...] = ()


@dataclass(frozen=True)
class HitOptions:
    """How rows become hits.

    Clips of a video at most `gap_s` apart are one event (below 0: clips stay single), but for those that score less
    than `height` of the way from a typical row to the best of that video: a small corpus, of which every row is among
    the nearest, would answer with whole videos. 0.5 is the width at half height, as of a peak.

    A hit whose best row has a cosine of `fold_above` or more to a better hit's (above 1: none), or that shows the same
    seconds of the same bytes, is folded.
    """

    count: int = 20
    gap_s: float = 0.5
    height: float = 0.5
    fold_above: float = 2.0


TYPICAL = 256  # rows spread over all, whose mean score says what is typical
Vectors = Callable[[np.ndarray], np.ndarray]  # row numbers (n,) to their vectors (n, D)


def find(
    nearest: Nearest,
    rows: Rows,
    query_D: np.ndarray,
    options: HitOptions,
    allowed_N: np.ndarray | None,
    vectors: Vectors,
) -> list[Hit]:
    """The best hits for a query (D,), `options.count` of them where there are as many; best first.

    At first 50 rows a hit are asked for, then more until there are enough hits. An event reaches no farther than these.
    """
    typical = float((vectors(np.linspace(0, len(rows) - 1, TYPICAL).astype(np.int64)) @ query_D).mean())
    k = 50 * options.count
    while True:
        score_QK, row_QK = nearest.search(query_D.reshape(1, -1), k, allowed_N)
        score_K, row_K = score_QK[0], row_QK[0]
        if options.gap_s >= 0:
            high_K = _high(rows.path_N[row_K], score_K, typical, options.height)
            score_K, row_K = score_K[high_K], row_K[high_K]
        found = merged(rows, row_K, score_K, options.gap_s)
        hits = folded(found, rows, options.fold_above, vectors, options.count)
        if len(hits) >= options.count or row_QK.shape[1] < k or k >= len(nearest):
            return hits
        k = min(4 * k, len(nearest))


def _high(path_K: np.ndarray, score_K: np.ndarray, typical: float, height: float) -> np.ndarray:
    """Which rows are high enough to be part of an event, bool (K,); the best of each path always is."""
    place_K = np.unique(path_K, return_inverse=True)[1]
    best_P = np.full(place_K.max(initial=-1) + 1, -np.inf)
    np.maximum.at(best_P, place_K, score_K)
    best_K = best_P[place_K]
    return score_K >= best_K - (1 - height) * np.maximum(best_K - typical, 0)


def merged(rows: Rows, row_K: np.ndarray, score_K: np.ndarray, gap_s: float) -> list[Hit]:
    """Rows with their scores as hits, best first: rows of a path whose stretches overlap or nearly touch are one."""
    if not len(row_K):
        return []
    order_K = np.lexsort((rows.start_s[row_K], rows.path_N[row_K]))
    row_K, score_K = row_K[order_K], score_K[order_K]
    path_K, start_K, end_K = rows.path_N[row_K], rows.start_s[row_K], rows.end_s[row_K]
    new_K = np.r_[True, path_K[1:] != path_K[:-1]]
    if gap_s < 0:
        new_K[:] = True
    else:
        new_K[1:] |= start_K[1:] - _latest_end(path_K, end_K)[:-1] > gap_s
    first_E = np.flatnonzero(new_K)
    best_K = np.lexsort(
        (row_K, -score_K, np.cumsum(new_K))
    )  # events stay where they are, in each the best row is first
    best_rows = np.split(row_K[best_K], first_E[1:])
    begin_E, last_E = np.minimum.reduceat(start_K, first_E), np.maximum.reduceat(end_K, first_E)
    columns = (best_rows, begin_E.tolist(), last_E.tolist(), score_K[best_K][first_E].tolist())
    hits = [
        Hit(rows.path(row_e[0]), start_s, end_s, score, tuple(row_e.tolist()))
        for row_e, start_s, end_s, score in zip(*columns, strict=True)
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.rows))


def _latest_end(path_K: np.ndarray, end_K: np.ndarray) -> np.ndarray:
    """The latest end so far within each path, for rows sorted by path: paths are laid one behind the other in time."""
    shift_K = np.unique(path_K, return_inverse=True)[1] * (end_K.max() - end_K.min() + 1.0)
    return np.maximum.accumulate(end_K + shift_K) - shift_K


def folded(hits: list[Hit], rows: Rows, fold_above: float, vectors: Vectors, count: int | None = None) -> list[Hit]:
    """Hits, best first, without those that are near-duplicates of a better one: these stand in its `alike`.

    With a count that many at most; only they are compared with the others, of which there may be thousands.
    """
    if not hits:
        return []
    shown = _Shown.by(hits, rows)
    vector_HD = vectors(shown.best_H) if fold_above <= 1 else None
    free_H = np.ones(len(hits), bool)
    kept: list[Hit] = []
    for n, hit in enumerate(hits):
        if len(kept) == count:
            break
        if not free_H[n]:
            continue
        free_H[n] = False
        same_H = shown.same_bytes(n)
        if vector_HD is not None:
            same_H |= vector_HD @ vector_HD[n] >= fold_above
        alike = np.flatnonzero(same_H & free_H)
        free_H[alike] = False
        kept.append(dataclasses.replace(hit, alike=tuple(hits[m] for m in alike)))
    return kept


@dataclass(frozen=True)
class _Shown:
    """What hits show: their best rows, the path and bytes that it is of, and their seconds; (H,) each."""

    best_H: np.ndarray
    path_H: np.ndarray
    content_H: np.ndarray
    start_H: np.ndarray
    end_H: np.ndarray

    @classmethod
    def by(cls, hits: list[Hit], rows: Rows) -> "_Shown":
        best_H = np.array([hit.rows[0] for hit in hits])
        start_H, end_H = np.array([hit.start_s for hit in hits]), np.array([hit.end_s for hit in hits])
        return cls(best_H, rows.path_N[best_H], rows.content_N[best_H], start_H, end_H)

    def same_bytes(self, n: int) -> np.ndarray:
        """Which hits show the same seconds as hit n, of another file with the same bytes, bool (H,)."""
        overlap_H = (self.start_H < self.end_H[n]) & (self.start_H[n] < self.end_H)
        return overlap_H & (self.content_H == self.content_H[n]) & (self.path_H != self.path_H[n])
