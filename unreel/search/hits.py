"""From nearest rows to hits: neighbouring clips of one event are one hit, near-duplicates stand under the best."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unreel.errors import InputError
from unreel.search.events import Events, events
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

    def __post_init__(self) -> None:
        if not 0 <= self.height <= 1:
            raise InputError(f"height lies between 0 and 1, got {self.height:g}")


TYPICAL = 256  # rows spread over all, whose mean score says what is typical
FIRST, MORE, ENOUGH = 50, 4, 16  # rows for each hit at first, times more each round, and when to look at the end
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

    def least(best: np.ndarray) -> np.ndarray:
        return best - (1 - options.height) * np.maximum(best - typical, 0)

    found = events(rows, row_K, score_K, options.gap_s, least)
    return folded(found, options.fold_above, vectors, options.count)


def merged(rows: Rows, row_K: np.ndarray, score_K: np.ndarray, gap_s: float) -> list[Hit]:
    """Rows with their scores as hits, best first: rows of a path whose stretches overlap or nearly touch are one."""
    found = events(rows, row_K, score_K, gap_s)
    return [_hit(found, e) for e in range(len(found))]


def folded(found: Events, fold_above: float, vectors: Vectors, count: int | None = None) -> list[Hit]:
    """Events as hits without those that are near-duplicates of a better one: these stand in its `alike`.

    With a count that many at most; only they are compared with the others, of which there may be thousands.
    """
    vector_ED = vectors(found.best_E) if fold_above <= 1 else None
    free_E = np.ones(len(found), bool)
    kept: list[Hit] = []
    for e in range(len(found)):
        if len(kept) == count:
            break
        if not free_E[e]:
            continue
        free_E[e] = False
        same_E = found.same_bytes(e)
        if vector_ED is not None:
            same_E |= vector_ED @ vector_ED[e] >= fold_above
        alike = np.flatnonzero(same_E & free_E)
        free_E[alike] = False
        kept.append(_hit(found, e, tuple(_hit(found, other) for other in alike.tolist())))
    return kept


def _hit(found: Events, e: int, alike: tuple[Hit, ...] = ()) -> Hit:
    rows = tuple(found.row_K[found.first_E[e] : found.after_E[e]].tolist())
    span_s = float(found.start_E[e]), float(found.end_E[e])
    return Hit(found.rows.path(rows[0]), *span_s, float(found.score_E[e]), rows, alike)
