"""Percentile bootstrap intervals: how much a figure would vary with other test videos.

Source: Efron 1979; whole groups are drawn where they are known, since recordings of one group are right or wrong
together.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from unreel.errors import InputError
from unreel.seeding import make_generator

PERCENTILES = (2.5, 97.5)  # the ends of a 95 % interval
VALUES_AT_ONCE = 2**16


def sample_counts(num_videos: int, groups: Sequence[str] | None = None, seed: int = 0, draws: int = 1000) -> np.ndarray:
    """How often each video is in each draw, float64 (draws, num_videos).

    With `groups` whole groups are drawn, as many as there are; a video without a group ("") is a group of its own.
    """
    group_N, num_groups = number_groups(num_videos, groups, draws)
    rng, counts = make_generator(seed, 0, 0, "bootstrap"), np.empty((draws, num_videos))
    for n in range(draws):
        counts[n] = np.bincount(rng.integers(0, num_groups, num_groups), minlength=num_groups)[group_N]
    return counts


def number_groups(num_videos: int, groups: Sequence[str] | None, draws: int) -> tuple[np.ndarray, int]:
    """The number of each video's group, int64 (num_videos,), and how many groups there are. Raises InputError."""
    if num_videos < 1 or draws < 1:
        raise InputError(f"a bootstrap needs videos and draws, got {num_videos} and {draws}")
    names = [name or f"\0{n}" for n, name in enumerate(groups)] if groups else [str(n) for n in range(num_videos)]
    if len(names) != num_videos:
        raise InputError(f"{num_videos} videos but {len(names)} groups")
    known, group_N = np.unique(names, return_inverse=True)
    return group_N, len(known)


def percentile_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the values of many draws."""
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


def bootstrap_interval(
    values_Q: Sequence[float] | np.ndarray, groups: Sequence[str] | None = None, seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """95 % interval of the mean of the values of Q videos."""
    return percentile_interval(resample_means(np.asarray(values_Q, np.float64)[:, None], groups, seed, draws)[:, 0])


def bootstrap_intervals(
    columns: Mapping[str, np.ndarray], groups: Sequence[str] | None = None, seed: int = 0, draws: int = 1000
) -> dict[str, tuple[float, float]]:
    """95 % interval of the mean of each column (Q,), all from the same draws."""
    means_RC = resample_means(np.stack(list(columns.values()), axis=1).astype(np.float64), groups, seed, draws)
    low_C, high_C = np.percentile(means_RC, PERCENTILES, axis=0)
    return {name: (float(low), float(high)) for name, low, high in zip(columns, low_C, high_C, strict=True)}


def resample_means(values_QC: np.ndarray, groups: Sequence[str] | None, seed: int, draws: int) -> np.ndarray:
    """Means of the columns in each draw, float64 (draws, C); sums over groups are drawn, so memory is draws x C."""
    group_Q, num_groups = number_groups(len(values_QC), groups, draws)
    sums_GC, size_G = np.zeros((num_groups, values_QC.shape[1])), np.bincount(group_Q, minlength=num_groups)
    np.add.at(sums_GC, group_Q, values_QC)
    rng, means = make_generator(seed, 0, 0, "bootstrap"), np.empty((draws, values_QC.shape[1]))
    draws_at_once = max(1, VALUES_AT_ONCE // sums_GC.size)  # many draws of few videos, or a few of many
    for start in range(0, draws, draws_at_once):
        rows = slice(start, min(start + draws_at_once, draws))
        chosen_RG = rng.integers(0, num_groups, (rows.stop - start, num_groups))
        means[rows] = sums_GC[chosen_RG].sum(axis=1) / size_G[chosen_RG].sum(axis=1)[:, None]
    return means
