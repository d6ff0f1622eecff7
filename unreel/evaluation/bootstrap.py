"""How far a figure would move had other videos been drawn: percentile bootstrap intervals.

Source: Efron 1979; whole groups are drawn where they are known, since recordings of one group stand or fall together.
"""

from collections.abc import Sequence

import numpy as np

from unreel.errors import InputError
from unreel.video.order import generator


def resampled(count: int, groups: Sequence[str] | None = None, seed: int = 0, draws: int = 1000) -> np.ndarray:
    """How often each of `count` videos is in each draw, float64 (draws, count).

    With `groups` whole groups are drawn, as many as there are; a video without a group ("") is a group of its own.
    """
    if count < 1 or draws < 1:
        raise InputError(f"a bootstrap needs videos and draws, got {count} and {draws}")
    names = [name or f"\0{n}" for n, name in enumerate(groups)] if groups else [str(n) for n in range(count)]
    if len(names) != count:
        raise InputError(f"{count} videos but {len(names)} groups")
    known, group_N = np.unique(names, return_inverse=True)
    chosen = generator(seed, 0, 0, "bootstrap").integers(0, len(known), (draws, len(known)))
    times = np.zeros((draws, len(known)))
    np.add.at(times, (np.arange(draws)[:, None], chosen), 1)
    return times[:, group_N]


def bootstrap_interval(
    values_Q: Sequence[float] | np.ndarray, groups: Sequence[str] | None = None, seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """95 % interval of the mean of the values of Q videos."""
    values = np.asarray(values_Q, np.float64)
    times_RQ = resampled(len(values), groups, seed, draws)
    low, high = np.percentile(times_RQ @ values / times_RQ.sum(axis=1), (2.5, 97.5))
    return float(low), float(high)
