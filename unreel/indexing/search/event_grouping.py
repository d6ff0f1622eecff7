"""Group clips of a video that overlap or nearly touch into events."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unreel.indexing.index.row_table import RowTable

ScoreFloor = Callable[[np.ndarray], np.ndarray]  # from an event's best score to the lowest that belongs to it


@dataclass(frozen=True)
class Events:
    """Events, best first, with the score and seconds of each, (E,).

    The rows of event e are `row_K[first_E[e]:stop_E[e]]`, best first.
    """

    rows: RowTable
    row_K: np.ndarray
    first_E: np.ndarray
    stop_E: np.ndarray
    score_E: np.ndarray
    start_s_E: np.ndarray
    end_s_E: np.ndarray

    def __len__(self) -> int:
        return len(self.first_E)

    @cached_property
    def best_E(self) -> np.ndarray:
        """The best row of each event, int64 (E,)."""
        return self.row_K[self.first_E]

    def find_copies(self, event: int) -> np.ndarray:
        """Events with the same seconds of another file with the same bytes, bool (E,)."""
        is_copy_E = self.content_E == self.content_E[event]
        other_n = np.flatnonzero(is_copy_E)  # few, so the rest is asked of these alone
        path_n = self.rows.path_N[self.best_E[other_n]]
        overlap_n = (self.start_s_E[other_n] < self.end_s_E[event]) & (self.start_s_E[event] < self.end_s_E[other_n])
        is_copy_E[other_n] = overlap_n & (path_n != self.rows.path_N[self.best_E[event]])
        return is_copy_E

    @cached_property
    def content_E(self) -> np.ndarray:
        """The content of each event, int64 (E,)."""
        return self.rows.content_N[self.best_E]


def group_events(
    rows: RowTable, row_K: np.ndarray, score_K: np.ndarray, gap_s: float, score_floor: ScoreFloor | None = None
) -> Events:
    """Rows of a path at most `gap_s` apart are one event; below 0 each row is an event.

    With `score_floor`, only rows above an event's floor belong to it; rows beside it may form another event.
    """
    order_K = np.lexsort((rows.start_s[row_K], rows.path_N[row_K]))
    row_K, score_K = row_K[order_K], score_K[order_K]
    if score_floor is not None and gap_s >= 0:
        high_K = _select_event_rows(score_K, np.flatnonzero(_find_run_starts(rows, row_K, gap_s)), score_floor)
        row_K, score_K = row_K[high_K], score_K[high_K]
    begins_K = _find_run_starts(rows, row_K, gap_s)
    first_E = np.flatnonzero(begins_K)
    best_first = np.lexsort((row_K, -score_K, np.cumsum(begins_K)))  # within each event
    sorted_K, score_E = row_K[best_first], score_K[best_first][first_E]
    start_E = np.minimum.reduceat(rows.start_s[row_K], first_E) if len(row_K) else score_E
    end_E = np.maximum.reduceat(rows.end_s[row_K], first_E) if len(row_K) else score_E
    best_E = np.lexsort((sorted_K[first_E], -score_E))
    columns = (first_E, np.r_[first_E[1:], len(row_K)][: len(first_E)], score_E, start_E, end_E)
    return Events(rows, sorted_K, *(column_E[best_E] for column_E in columns))


def _find_run_starts(rows: RowTable, row_K: np.ndarray, gap_s: float) -> np.ndarray:
    """Where a run begins, bool (K,), of rows sorted by path and time: after a gap, or at another path."""
    path_K, start_K, end_K = rows.path_N[row_K], rows.start_s[row_K], rows.end_s[row_K]
    new_K = np.ones(len(row_K), bool)
    if gap_s >= 0 and len(row_K):
        has_gap_K = start_K[1:] - _running_max_end(path_K, end_K)[:-1] > gap_s
        new_K[1:] = has_gap_K | (path_K[1:] != path_K[:-1])
    return new_K


def _running_max_end(path_K: np.ndarray, end_K: np.ndarray) -> np.ndarray:
    """The latest end so far within each path, of rows sorted by path. Paths are laid one after another in time."""
    number_K = np.cumsum(np.r_[0, path_K[1:] != path_K[:-1]])
    shift_K = number_K * (end_K.max() - end_K.min() + 1.0)
    return np.maximum.accumulate(end_K + shift_K) - shift_K


def _select_event_rows(score_K: np.ndarray, run_start_R: np.ndarray, score_floor: ScoreFloor) -> np.ndarray:
    """Rows that are part of an event, bool (K,), of runs that begin at `run_start_R`.

    The best row of a run and the rows around it, down to its floor, are an event. The rest before and after is treated
    in the same way, except that a peak which touches a better event is its flank and no event.
    """
    is_part_K = np.ones(len(score_K), bool)
    after_R = np.r_[run_start_R[1:], len(score_K)]
    long_R = np.flatnonzero(after_R - run_start_R > 1)  # a single row is an event
    pending = [(first, after, False, False) for first, after in zip(run_start_R[long_R], after_R[long_R], strict=True)]
    while pending:
        first, after, better_before, better_after = pending.pop()
        begin, end = _find_peak_span(score_K, first, after, score_floor)
        is_part_K[begin:end] = not (better_before and begin == first) and not (better_after and end == after)
        if first < begin:
            pending.append((first, begin, better_before, True))
        if end < after:
            pending.append((end, after, True, better_after))
    return is_part_K


def _find_peak_span(score_K: np.ndarray, first: int, stop: int, score_floor: ScoreFloor) -> tuple[int, int]:
    """First row and end of the rows around the best of a run whose scores reach its floor."""
    best = first + int(score_K[first:stop].argmax())
    low = np.flatnonzero(score_K[first:stop] < score_floor(score_K[best])) + first
    place = int(np.searchsorted(low, best))
    return int(low[place - 1]) + 1 if place else first, int(low[place]) if place < len(low) else stop
