"""Seconds of frames on the clock of their file, from time stamps that may be missing, equal, or begin again.

The clock begins with the earliest picture or sound of the file. Arithmetic only; packet_index.py reads.
"""

from collections.abc import Sequence

import numpy as np

NO_TIMESTAMP = np.iinfo(np.int64).min


def find_clock_restarts(decode_timestamps: Sequence[int | None], jitter: float) -> np.ndarray:
    """How often the clock has stepped back by more than `jitter` up to each packet, int64 (P,): joined recordings.

    >>> find_clock_restarts([90, 93, None, 92, 96, 0, 3], jitter=5.0).tolist()
    [0, 0, 0, 0, 0, 1, 1]
    """
    restarts, latest, counts = 0, None, []
    for stamp in decode_timestamps:
        if stamp is not None:
            is_restart = latest is not None and stamp < latest - jitter
            restarts += is_restart
            latest = stamp if latest is None or is_restart else max(latest, stamp)
        counts.append(restarts)
    return np.array(counts, dtype=np.int64)


def compute_times(
    stamps: np.ndarray, restarts: np.ndarray, start: float, tick_s: float, default_frame_s: float
) -> np.ndarray:
    """Seconds of L frames in the order they are shown, float64 (L,), ascending.

    `stamps` (int64, NO_TIMESTAMP where there is none) and `start`, the clock's first stamp, count ticks of `tick_s`;
    `restarts` is how often the clock has stepped back up to each frame. Stamps that only number the packets are put
    in order, what has none is put between its neighbours, and a clock that begins again goes on.

    >>> compute_times(np.array([0, 4, 4, 12]), np.zeros(4, int), 0.0, 0.01, 0.04).tolist()
    [0.0, 0.04, 0.08, 0.12]
    >>> compute_times(np.array([50, 54, 0, 4]), np.array([0, 0, 1, 1]), 50.0, 0.01, 0.04).round(2).tolist()
    [0.0, 0.04, 0.08, 0.12]
    """
    if stamps[0] != NO_TIMESTAMP and (stamps[1:] > stamps[:-1]).all():  # also where an edit list reads packets again
        return (stamps - min(start, stamps[0])) * tick_s
    ticks = np.full(len(stamps), np.nan)
    for run in np.unique(restarts):
        inside = np.flatnonzero((restarts == run) & (stamps != NO_TIMESTAMP))
        ticks[inside] = np.sort(stamps[inside])
    ticks[_is_repeated(ticks, restarts)] = np.nan
    frame_ticks = _compute_frame_ticks(ticks, restarts, default_frame_s / tick_s if tick_s else 1.0)
    for run in range(1, int(restarts.max(initial=0)) + 1):
        _continue_clock(ticks, restarts == run, frame_ticks)
    if np.isnan(ticks).all():
        return np.arange(len(stamps)) * default_frame_s
    first = ticks[~np.isnan(ticks)][0]
    ticks[~(ticks > np.concatenate([[-np.inf], np.fmax.accumulate(ticks)[:-1]]))] = np.nan  # a clock that runs back
    times_s = (_fill_gaps(ticks, frame_ticks) - min(start, first)) * tick_s
    return times_s - min(0.0, times_s[0])


def _is_repeated(ticks: np.ndarray, restarts: np.ndarray) -> np.ndarray:
    """Whether a frame has the stamp of the one before it, on the same clock."""
    return np.concatenate([[False], (ticks[1:] == ticks[:-1]) & (restarts[1:] == restarts[:-1])])


def _compute_frame_ticks(ticks: np.ndarray, restarts: np.ndarray, default: float) -> float:
    """The median duration of a frame, from stamps that follow each other on one clock."""
    known = np.flatnonzero(~np.isnan(ticks))
    steps, frames = np.diff(ticks[known]), np.diff(known)
    same = restarts[known][1:] == restarts[known][:-1]
    return float(np.median(steps[same] / frames[same])) if same.any() else default


def _continue_clock(ticks: np.ndarray, is_inside: np.ndarray, frame_ticks: float) -> None:
    """Move a run of frames behind what comes before it, in place."""
    inside = np.flatnonzero(is_inside)
    known = inside[~np.isnan(ticks[inside])]
    before = np.flatnonzero(~np.isnan(ticks[: inside[0]])) if len(inside) else inside
    if len(known) and len(before):
        expected = ticks[before[-1]] + (known[0] - before[-1]) * frame_ticks
        ticks[known] += expected - ticks[known[0]]


def _fill_gaps(ticks: np.ndarray, frame_ticks: float) -> np.ndarray:
    """Put frames without a stamp between their neighbours, or a frame's duration from the first or the last one."""
    known, frames = np.flatnonzero(~np.isnan(ticks)), np.arange(len(ticks))
    if len(known) == len(ticks):
        return ticks
    filled = np.interp(frames, known, ticks[known])
    filled[: known[0]] = ticks[known[0]] - (known[0] - frames[: known[0]]) * frame_ticks
    filled[known[-1] :] = ticks[known[-1]] + (frames[known[-1] :] - known[-1]) * frame_ticks
    return filled
