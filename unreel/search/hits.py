"""From nearest rows to hits: neighbouring clips of one event are one hit, near-duplicates stand under the best."""

import dataclasses
from collections.abc import Callable, Iterator
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

    Clips of a video at most `gap_s` apart are one event (below 0: clips stay single) as far as they score at least
    `height` of the way from a typical row to the event's best: else a small corpus, of which every row is among the
    nearest, would answer with whole videos. 0.5 is the width at half height, as of a peak. What is left beside an event
    is an event of its own where it has such a peak too, else its flank.

    A hit whose best row has a cosine of `fold_above` or more to a better hit's (above 1: none), or that shows the same
    seconds of the same bytes, is folded.
    """

    count: int = 20
    gap_s: float = 0.5
    height: float = 0.5
    fold_above: float = 2.0


TYPICAL = 256  # rows spread over all, whose mean score says what is typical
FIRST, MORE, ENOUGH = 50, 4, 16  # rows for each hit at first, times more each round, and when to look at the end
Vectors = Callable[[np.ndarray], np.ndarray]  # row numbers (n,) to their vectors (n, D)
Least = Callable[[np.ndarray], np.ndarray]  # scores of events' best rows to the least of a row that is part of each


def find(
    nearest: Nearest,
    rows: Rows,
    query_D: np.ndarray,
    options: HitOptions,
    allowed_N: np.ndarray | None,
    vectors: Vectors,
) -> list[Hit]:
    """The best hits for a query (D,), `options.count` of them where there are as many; best first.

    At first 50 rows a hit are asked for, then more until there are enough hits, or 16 times as many were seen and the
    last of them is less alike than a typical row. An event reaches no farther than these.
    """

    def ask(k: int) -> tuple[np.ndarray, np.ndarray]:
        score_QK, row_QK = nearest.search(query_D.reshape(1, -1), k, allowed_N)
        return score_QK[0], row_QK[0]

    return _until_enough(ask, vectors(_spread(rows)) @ query_D, rows, options, vectors)


def find_by(
    score_N: np.ndarray, rows: Rows, options: HitOptions, allowed_N: np.ndarray | None, vectors: Vectors
) -> list[Hit]:
    """As `find`, by a score (N,) that every row has."""
    ranked_N = np.argsort(-score_N, kind="stable")
    if allowed_N is not None:
        ranked_N = ranked_N[allowed_N[ranked_N]]

    def ask(k: int) -> tuple[np.ndarray, np.ndarray]:
        return score_N[ranked_N[:k]], ranked_N[:k]

    return _until_enough(ask, score_N[_spread(rows)], rows, options, vectors)


def _spread(rows: Rows) -> np.ndarray:
    return np.linspace(0, len(rows) - 1, TYPICAL).astype(np.int64)


def _until_enough(
    ask: Callable[[int], tuple[np.ndarray, np.ndarray]],
    spread_score: np.ndarray,
    rows: Rows,
    options: HitOptions,
    vectors: Vectors,
) -> list[Hit]:
    typical = float(spread_score.mean())
    first = k = FIRST * options.count
    while True:
        score_K, row_K = ask(k)
        hits = found_among(rows, row_K, score_K, typical, options, vectors)
        seen_all = len(row_K) < k or k >= len(rows)
        if len(hits) >= options.count or seen_all or (k >= ENOUGH * first and score_K[-1] < typical):
            return hits
        k = min(MORE * k, len(rows))


def found_among(
    rows: Rows, row_K: np.ndarray, score_K: np.ndarray, typical: float, options: HitOptions, vectors: Vectors
) -> list[Hit]:
    """The best hits among some rows; `typical` is the score of a row that is like any other."""

    def least(best_E: np.ndarray) -> np.ndarray:
        return best_E - (1 - options.height) * np.maximum(best_E - typical, 0)

    hits = merged(rows, row_K, score_K, options.gap_s, least)
    return folded(hits, rows, options.fold_above, vectors, options.count)


def merged(rows: Rows, row_K: np.ndarray, score_K: np.ndarray, gap_s: float, least: Least | None = None) -> list[Hit]:
    """Rows with their scores as hits, best first: rows of a path whose stretches overlap or nearly touch are one.

    With `least` a hit takes only rows that score that much, and what lies beside it may be hits of its own.
    """
    if not len(row_K):
        return []
    order_K = np.lexsort((rows.start_s[row_K], rows.path_N[row_K]))
    row_K, score_K = row_K[order_K], score_K[order_K]
    if least is not None and gap_s >= 0:
        high_K = _high(score_K, np.flatnonzero(_begins(rows, row_K, gap_s)), least)
        row_K, score_K = row_K[high_K], score_K[high_K]
    first_E = np.flatnonzero(_begins(rows, row_K, gap_s))
    return sorted(_hits(rows, row_K, score_K, first_E), key=lambda hit: (-hit.score, hit.rows))


def _begins(rows: Rows, row_K: np.ndarray, gap_s: float) -> np.ndarray:
    """Where a run of rows begins, bool (K,), of rows sorted by path and time: with a gap, or another path."""
    path_K, start_K, end_K = rows.path_N[row_K], rows.start_s[row_K], rows.end_s[row_K]
    new_K = np.r_[True, path_K[1:] != path_K[:-1]]
    if gap_s < 0:
        new_K[:] = True
    else:
        new_K[1:] |= start_K[1:] - _latest_end(path_K, end_K)[:-1] > gap_s
    return new_K


def _high(score_K: np.ndarray, first_R: np.ndarray, least: Least) -> np.ndarray:
    """Which rows are part of an event, bool (K,), of runs that begin at `first_R`.

    The best row of a run and those around it down to its least are an event. So are the best before it and after it,
    with those around them, unless these reach what is better: then they are its flank. And so on.
    """
    high_K = np.zeros(len(score_K), bool)
    ends = [*first_R[1:].tolist(), len(score_K)]
    left = [(first, end, False, False) for first, end in zip(first_R.tolist(), ends, strict=True)]
    while left:
        first, end, better_before, better_after = left.pop()
        begin, stop = first, end
        if end - first > 1:  # few are
            peak = first + int(score_K[first:end].argmax())
            low = np.flatnonzero(score_K[first:end] < least(score_K[peak])) + first
            place = int(np.searchsorted(low, peak))
            begin = int(low[place - 1]) + 1 if place else first
            stop = int(low[place]) if place < len(low) else end
        if not (better_before and begin == first) and not (better_after and stop == end):
            high_K[begin:stop] = True
        if first < begin:
            left.append((first, begin, better_before, True))
        if stop < end:
            left.append((stop, end, True, better_after))
    return high_K


def _hits(rows: Rows, row_K: np.ndarray, score_K: np.ndarray, first_E: np.ndarray) -> Iterator[Hit]:
    start_K, end_K, path_K = rows.start_s[row_K], rows.end_s[row_K], rows.path_N[row_K]
    for first, end in zip(first_E.tolist(), [*first_E[1:].tolist(), len(row_K)], strict=True):
        path, event = rows.paths[path_K[first]], slice(first, end)
        if end - first == 1:  # as most are
            yield Hit(path, float(start_K[first]), float(end_K[first]), float(score_K[first]), (int(row_K[first]),))
            continue
        best_first = np.lexsort((row_K[event], -score_K[event]))
        best = tuple(row_K[event][best_first].tolist())
        span_s = float(start_K[event].min()), float(end_K[event].max())
        yield Hit(path, *span_s, float(score_K[event].max()), best)


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
