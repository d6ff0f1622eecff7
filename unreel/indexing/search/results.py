"""From scored rows to hits: neighbouring clips of one event become one hit, near-duplicates fold under the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from unreel.errors import InputError
from unreel.indexing.index.nearest_rows import NearestRows
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.score_scale import compute_likeness, spread_rows
from unreel.indexing.search.event_grouping import Events, group_events
from unreel.io.text import format_count
from unreel.types import Moment, Tabular

FIRST_ROWS_PER_HIT, GROWTH_FACTOR, MAX_GROWTH = 50, 4, 16  # rows fetched for each hit; how the number grows
VectorReader = Callable[[np.ndarray], np.ndarray]  # row numbers (n,) to their vectors (n, D)


@dataclass(frozen=True, kw_only=True)
class Hit(Moment):
    """A moment found, with its best score, its rows (best first) and the near-duplicates folded under it.

    `typical_score` is the mean score of rows evenly spread over the index, for the same query; None where the score is
    no cosine. `percentile` is the percentage of the index's rows that are less like the third nearest of the other
    videos (score_scale.py). `query_moment` is the clip of a long query that the hit is like.
    """

    score: float
    rows: tuple[int, ...]
    duplicates: tuple["Hit", ...] = ()
    typical_score: float | None = field(default=None, compare=False)
    percentile: float | None = field(default=None, compare=False)
    query_moment: Moment | None = field(default=None, compare=False)

    @property
    def likeness(self) -> float | None:
        """The score on a scale where 0 is a typical moment of the index and 1 is the query itself.

        Cosines of an encoder lie close together, often all above 0.9, and say little by themselves.

        >>> Hit("jump.mp4", score=0.99, rows=(3,), typical_score=0.96).likeness
        0.75
        """
        if self.typical_score is None:
            return None
        return round(min(1.0, max(0.0, float(compute_likeness(self.score, self.typical_score)))), 6)


class Hits(list[Hit], Tabular):
    """Hits, best first: a list that prints in a few lines and shows as a table in a notebook."""

    def __repr__(self) -> str:
        """How many there are, and the best of them."""
        shown = [f"  {hit.path} {hit.start_s:.2f} to {hit.end_s:.2f} s, score {hit.score:.4f}" for hit in self[:5]]
        more = [f"  ... {len(self) - 5:,} more"] if len(self) > 5 else []
        return "\n".join([f"{format_count(len(self), 'hit')}", *shown, *more])

    def list_rows(self) -> list[dict[str, Any]]:
        """The hits, each as path, seconds, score, likeness, percentile and number of duplicates."""
        return [
            {
                **{"path": hit.path, "start_s": hit.start_s, "end_s": hit.end_s, "score": hit.score},
                **{"likeness": hit.likeness, "percentile": hit.percentile, "duplicates": len(hit.duplicates)},
            }
            for hit in self
        ]


@dataclass(frozen=True)
class HitOptions:
    """How rows become hits.

    Clips of a video at most `gap_s` apart form one event, as far as their scores reach `peak_height` of the way from a
    typical row's score to the event's best. Without this limit a small corpus, whose rows are all among the nearest,
    would answer with whole videos. Rows beside an event form another event if they have a peak of their own, else they
    are its flank. A hit is also folded when it shows the same seconds of another file with the same bytes.

    Args:
        num_hits: the largest number of hits.
        gap_s: seconds between clips of one event; below 0 every clip is its own event.
        peak_height: from 0 to 1; 0.5 is the width at half height of a peak.
        duplicate_threshold: a hit is folded under a better one when the cosine of their best rows is at least this;
            above 1 never.

    Raises:
        InputError: `peak_height` is not between 0 and 1.

    >>> hits = unreel.search(index, unreel.SearchQuery(positive_rows=(0,)), unreel.HitOptions(num_hits=3))
    >>> len(hits)
    3
    """

    num_hits: int = 20
    gap_s: float = 0.5
    peak_height: float = 0.5
    duplicate_threshold: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.peak_height <= 1:
            raise InputError(f"peak_height lies between 0 and 1, got {self.peak_height:g}")


def search_by_vector(
    ann_index: NearestRows,
    rows: RowTable,
    query_QD: np.ndarray,
    options: HitOptions,
    allowed_N: np.ndarray | None,
    read_vectors: VectorReader,
    query_moments: Sequence[Moment] = (),
) -> list[Hit]:
    """The `num_hits` best hits for a query (D,), best first; or for a query of several vectors (Q, D), with the moment
    of each. A row is then as good as its likeness to the vector that it is most like.

    Fetches 50 rows for each hit, then more, until there are enough hits, or 16 times as many rows were fetched and the
    last scores below a typical row. An event consists of fetched rows only.
    """
    query_QD = np.atleast_2d(query_QD)
    score_NQ = read_vectors(spread_rows(rows)) @ query_QD.T
    typical_Q = score_NQ.mean(axis=0)

    def fetch_nearest(k: int) -> tuple[np.ndarray, np.ndarray]:
        score_QK, row_QK = ann_index.search(query_QD, k, allowed_N)
        if len(query_QD) == 1:
            return score_QK[0], row_QK[0]
        # The k best rows are among the k nearest of each vector: whatever is nearer to a row's best vector is better.
        return _keep_best_of_each_row(compute_likeness(score_QK, typical_Q[:, None]).ravel(), row_QK.ravel(), k)

    baseline_N = score_NQ[:, 0] if len(query_QD) == 1 else compute_likeness(score_NQ, typical_Q).max(axis=1)
    hits = _search_until_enough(fetch_nearest, baseline_N, rows, options, read_vectors)
    return [_compare_with_query(hit, query_QD, typical_Q, query_moments, read_vectors) for hit in hits]


def _keep_best_of_each_row(score_K: np.ndarray, row_K: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` best rows, best first, each once with its best score."""
    order_K = np.lexsort((row_K, -score_K))
    _, first_K = np.unique(row_K[order_K], return_index=True)
    best_K = order_K[np.sort(first_K)[:k]]
    return score_K[best_K], row_K[best_K]


def _compare_with_query(
    hit: Hit, query_QD: np.ndarray, typical_Q: np.ndarray, query_moments: Sequence[Moment], read_vectors: VectorReader
) -> Hit:
    """The hit with the score of a typical row; for a query of several vectors with the cosine and the moment of the one
    that it is most like."""
    duplicates = tuple(
        _compare_with_query(other, query_QD, typical_Q, query_moments, read_vectors) for other in hit.duplicates
    )
    if len(query_QD) == 1:
        return replace(hit, duplicates=duplicates, typical_score=float(typical_Q[0]))
    score_Q = (read_vectors(np.array(hit.rows[:1])) @ query_QD.T)[0]
    q = int(np.argmax(compute_likeness(score_Q, typical_Q)))
    return replace(
        hit,
        score=float(score_Q[q]),
        duplicates=duplicates,
        typical_score=float(typical_Q[q]),
        query_moment=query_moments[q],
    )


def search_by_score(
    score_N: np.ndarray, rows: RowTable, options: HitOptions, allowed_N: np.ndarray | None, read_vectors: VectorReader
) -> list[Hit]:
    """`search_by_vector` for scores (N,) of all rows in place of a query."""
    ranked_N = np.argsort(-score_N, kind="stable")
    if allowed_N is not None:
        ranked_N = ranked_N[allowed_N[ranked_N]]

    def fetch_nearest(k: int) -> tuple[np.ndarray, np.ndarray]:
        return score_N[ranked_N[:k]], ranked_N[:k]

    return _search_until_enough(fetch_nearest, score_N[spread_rows(rows)], rows, options, read_vectors)


def _search_until_enough(
    fetch_nearest: Callable[[int], tuple[np.ndarray, np.ndarray]],
    baseline_score_N: np.ndarray,
    rows: RowTable,
    options: HitOptions,
    read_vectors: VectorReader,
) -> list[Hit]:
    baseline_score = float(baseline_score_N.mean())
    first = k = FIRST_ROWS_PER_HIT * options.num_hits
    while True:
        score_K, row_K = fetch_nearest(k)
        hits = group_hits(rows, row_K, score_K, baseline_score, options, read_vectors)
        seen_all = len(row_K) < k or k >= len(rows)
        if len(hits) >= options.num_hits or seen_all or (k >= MAX_GROWTH * first and score_K[-1] < baseline_score):
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
    """The best hits among some rows; `baseline_score` is the score of a typical row."""

    def compute_floor(best: np.ndarray) -> np.ndarray:
        return best - (1 - options.peak_height) * np.maximum(best - baseline_score, 0)

    events = group_events(rows, row_K, score_K, options.gap_s, compute_floor)
    return fold_duplicates(events, options.duplicate_threshold, read_vectors, options.num_hits)


def merge_rows(rows: RowTable, row_K: np.ndarray, score_K: np.ndarray, gap_s: float) -> list[Hit]:
    """Rows with scores (K,) as hits, best first: rows of a path at most `gap_s` apart become one."""
    events = group_events(rows, row_K, score_K, gap_s)
    return [_make_hit(events, e) for e in range(len(events))]


def find_moments(rows: RowTable, score_N: np.ndarray, min_score: float, gap_s: float = HitOptions.gap_s) -> list[Hit]:
    """Neighbouring rows with at least this score as one moment, which has the best score; best first."""
    row_K = np.flatnonzero(score_N >= min_score)
    return merge_rows(rows, row_K, score_N[row_K], gap_s)


def row_to_hit(rows: RowTable, row: int, score: float) -> Hit:
    """A single row as a hit."""
    moment = rows.get_moment(row)
    return Hit(moment.path, moment.start_s, moment.end_s, score=score, rows=(row,))


def fold_duplicates(
    events: Events, duplicate_threshold: float, read_vectors: VectorReader, max_hits: int | None = None
) -> list[Hit]:
    """Events as hits, near-duplicates of a better one in its `duplicates`.

    At most `max_hits`; only these are compared with the others, of which there may be thousands.
    """
    vector_ED = read_vectors(events.best_E) if duplicate_threshold <= 1 else None
    free_E = np.ones(len(events), bool)
    hits: list[Hit] = []
    for e in range(len(events)):
        if len(hits) == max_hits:
            break
        if not free_E[e]:
            continue
        free_E[e] = False
        same_E = events.find_copies(e)
        if vector_ED is not None:
            same_E |= vector_ED @ vector_ED[e] >= duplicate_threshold
        duplicates = np.flatnonzero(same_E & free_E)
        free_E[duplicates] = False
        hits.append(_make_hit(events, e, tuple(_make_hit(events, other) for other in duplicates.tolist())))
    return hits


def _make_hit(events: Events, event: int, duplicates: tuple[Hit, ...] = ()) -> Hit:
    rows = tuple(events.row_K[events.first_E[event] : events.stop_E[event]].tolist())
    moment = events.rows.get_path(rows[0]), float(events.start_s_E[event]), float(events.end_s_E[event])
    return Hit(*moment, score=float(events.score_E[event]), rows=rows, duplicates=duplicates)
