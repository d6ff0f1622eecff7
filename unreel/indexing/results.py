"""From nearest rows to hits: neighbouring clips of one event are one hit, near-duplicates stand under the best."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unreel.errors import InputError
from unreel.indexing.event_grouping import Events, group_events
from unreel.indexing.index.ann_index import AnnIndex
from unreel.indexing.index.row_table import RowTable


@dataclass(frozen=True)
class Hit:
    """One event found: where it is, its best score, its rows best first, and the near-duplicates folded under it."""

    path: str
    start_s: float
    end_s: float
    score: float
    rows: tuple[int, ...]
    duplicates: tuple["Hit", ...] = ()


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

    num_hits: int = 20
    gap_s: float = 0.5
    peak_height: float = 0.5
    duplicate_threshold: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.peak_height <= 1:
            raise InputError(f"height lies between 0 and 1, got {self.peak_height:g}")


NUM_BASELINE_ROWS = 256  # rows spread over all, whose mean score says what is typical
FIRST_ROWS_PER_HIT, GROWTH_FACTOR, MAX_GROWTH = (
    50,
    4,
    16,
)  # rows for each hit at first, times more each round, and when to look at the end
VectorReader = Callable[[np.ndarray], np.ndarray]  # row numbers (n,) to their vectors (n, D)


def search_by_vector(
    ann_index: AnnIndex,
    rows: RowTable,
    query_D: np.ndarray,
    options: HitOptions,
    allowed_N: np.ndarray | None,
    read_vectors: VectorReader,
) -> list[Hit]:
    """The best hits for a query (D,), `options.count` of them where there are as many; best first.

    At first 50 rows a hit are asked for, then more until there are enough hits, or 16 times as many were seen and the
    last of them is less alike than a typical row. An event reaches no farther than these.
    """

    def ask(k: int) -> tuple[np.ndarray, np.ndarray]:
        score_QK, row_QK = ann_index.search(query_D.reshape(1, -1), k, allowed_N)
        return score_QK[0], row_QK[0]

    return _search_until_enough(ask, read_vectors(_spread_rows(rows)) @ query_D, rows, options, read_vectors)


def search_by_score(
    score_N: np.ndarray, rows: RowTable, options: HitOptions, allowed_N: np.ndarray | None, read_vectors: VectorReader
) -> list[Hit]:
    """As `find`, by a score (N,) that every row has."""
    ranked_N = np.argsort(-score_N, kind="stable")
    if allowed_N is not None:
        ranked_N = ranked_N[allowed_N[ranked_N]]

    def ask(k: int) -> tuple[np.ndarray, np.ndarray]:
        return score_N[ranked_N[:k]], ranked_N[:k]

    return _search_until_enough(ask, score_N[_spread_rows(rows)], rows, options, read_vectors)


def _spread_rows(rows: RowTable) -> np.ndarray:
    return np.linspace(0, len(rows) - 1, NUM_BASELINE_ROWS).astype(np.int64)


def _search_until_enough(
    fetch_nearest: Callable[[int], tuple[np.ndarray, np.ndarray]],
    baseline_score_N: np.ndarray,
    rows: RowTable,
    options: HitOptions,
    read_vectors: VectorReader,
) -> list[Hit]:
    typical = float(baseline_score_N.mean())
    first = k = FIRST_ROWS_PER_HIT * options.num_hits
    while True:
        score_K, row_K = fetch_nearest(k)
        hits = group_hits(rows, row_K, score_K, typical, options, read_vectors)
        seen_all = len(row_K) < k or k >= len(rows)
        if len(hits) >= options.num_hits or seen_all or (k >= MAX_GROWTH * first and score_K[-1] < typical):
            return hits
        k = min(GROWTH_FACTOR * k, len(rows))


def group_hits(
    rows: RowTable,
    row_K: np.ndarray,
    score_K: np.ndarray,
    baseline_score: float,
    options: HitOptions,
    read_vectors: VectorReader,
) -> list[Hit]:
    """The best hits among some rows; `typical` is the score of a row that is like any other."""

    def least(best: np.ndarray) -> np.ndarray:
        return best - (1 - options.peak_height) * np.maximum(best - baseline_score, 0)

    found = group_events(rows, row_K, score_K, options.gap_s, least)
    return fold_duplicates(found, options.duplicate_threshold, read_vectors, options.num_hits)


def merge_rows(rows: RowTable, row_K: np.ndarray, score_K: np.ndarray, gap_s: float) -> list[Hit]:
    """Rows with their scores as hits, best first: rows of a path whose stretches overlap or nearly touch are one."""
    found = group_events(rows, row_K, score_K, gap_s)
    return [_make_hit(found, e) for e in range(len(found))]


def fold_duplicates(
    events: Events, duplicate_threshold: float, read_vectors: VectorReader, max_hits: int | None = None
) -> list[Hit]:
    """Events as hits without those that are near-duplicates of a better one: these stand in its `alike`.

    With a count that many at most; only they are compared with the others, of which there may be thousands.
    """
    vector_ED = read_vectors(events.best_E) if duplicate_threshold <= 1 else None
    free_E = np.ones(len(events), bool)
    kept: list[Hit] = []
    for e in range(len(events)):
        if len(kept) == max_hits:
            break
        if not free_E[e]:
            continue
        free_E[e] = False
        same_E = events.find_copies(e)
        if vector_ED is not None:
            same_E |= vector_ED @ vector_ED[e] >= duplicate_threshold
        alike = np.flatnonzero(same_E & free_E)
        free_E[alike] = False
        kept.append(_make_hit(events, e, tuple(_make_hit(events, other) for other in alike.tolist())))
    return kept


def _make_hit(events: Events, event: int, duplicates: tuple[Hit, ...] = ()) -> Hit:
    rows = tuple(events.row_K[events.first_E[event] : events.stop_E[event]].tolist())
    span_s = float(events.start_s_E[event]), float(events.end_s_E[event])
    return Hit(events.rows.get_path(rows[0]), *span_s, float(events.score_E[event]), rows, duplicates)
