"""How far apart in time the two clips of a pair begin.

An interval is drawn as a share x in [0, 1] of the T frames at which a clip can begin. Near clips are more alike; CVRL
draws small intervals more often. Two independent starts have the density 2 (1 - x) too, so "independent" is close to
"decreasing" of power 1; only the rounding to whole frames differs.

CVRL's six curves are decreasing with powers 1, 0.5 and 2, uniform, increasing with power 1, and one labelled t^2: its
plot is mirror with power 0.5, its label says increasing with power 2.

Source: Qian et al. 2021 (CVRL), figure of P(t) and released sampler.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from unreel.errors import InputError, unknown_name_error

IntervalKind = Literal["independent", "decreasing", "uniform", "increasing", "mirror"]
DISTRIBUTIONS = tuple(kind for kind in get_args(IntervalKind) if kind != "independent")
BISECTION_STEPS = 60  # more than a float64 has digits


@dataclass(frozen=True)
class IntervalDistribution:
    """A distribution of the distance between two clips: its kind and, for all but `uniform`, its power."""

    kind: IntervalKind = "independent"
    power: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(IntervalKind):
            raise unknown_name_error("interval", self.kind, get_args(IntervalKind))
        if not 0 < self.power < float("inf"):
            raise InputError(f"the power of an interval must be above 0 and finite, got {self.power}; CVRL takes 1")


def pdf(kind: IntervalKind, power: float, x: np.ndarray | float) -> np.ndarray:
    """Density of the share x in [0, 1], float64 of x's shape; its mean over [0, 1] is 1.

    decreasing: (p + 1) / p (1 - x^p); increasing: (p + 1) x^p; mirror: decreasing at 1 - x.
    """
    x = np.asarray(x, dtype=np.float64)
    if kind == "decreasing":
        return (power + 1) / power * (1 - x**power)
    if kind == "mirror":
        return pdf("decreasing", power, 1 - x)
    if kind == "increasing":
        return (power + 1) * x**power
    return np.ones_like(x * _require_uniform(kind))


def cdf(kind: IntervalKind, power: float, x: np.ndarray | float) -> np.ndarray:
    """Probability of a share of at most x in [0, 1]; float64 of x's shape."""
    x = np.asarray(x, dtype=np.float64)
    if kind == "decreasing":
        return ((power + 1) * x - x ** (power + 1)) / power
    if kind == "mirror":
        return 1 - cdf("decreasing", power, 1 - x)
    if kind == "increasing":
        return x ** (power + 1)
    return x * _require_uniform(kind)


def inverse_cdf(kind: IntervalKind, power: float, u: np.ndarray | float) -> np.ndarray:
    """The share x in [0, 1] with cdf(x) = u for uniforms u; float64 of u's shape."""
    u = np.asarray(u, dtype=np.float64)
    if kind == "decreasing":
        return 1 - np.sqrt(1 - u) if power == 1 else _bisect(kind, power, u)
    if kind == "mirror":
        return 1 - inverse_cdf("decreasing", power, 1 - u)
    if kind == "increasing":
        return u ** (1 / (power + 1))
    return u * _require_uniform(kind)


def sample_start_pair(num_starts: int, kind: IntervalKind, power: float, u: np.ndarray) -> tuple[int, int]:
    """Starts of two clips in 0 .. num_starts - 1; the three uniforms u in [0, 1) are for distance, place and order.

    Source: tensorflow/models video_ssl, its sampler of two clips.

    >>> sample_start_pair(50, "decreasing", 1.0, np.array([0.5, 0.2, 0.9]))
    (21, 7)
    """
    distance = min(int(num_starts * inverse_cdf(kind, power, u[0])), num_starts - 1)
    first = int(u[1] * (num_starts - distance))
    pair = (first, first + distance)
    return pair if u[2] < 0.5 else pair[::-1]


def _bisect(kind: IntervalKind, power: float, u: np.ndarray) -> np.ndarray:
    """The inverse of a cdf that has no closed form."""
    low, high = np.zeros_like(u), np.ones_like(u)
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        below = cdf(kind, power, middle) < u
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _require_uniform(kind: str) -> float:
    """1.0 for the uniform distribution. Raises InputError for an unknown name."""
    if kind != "uniform":
        raise unknown_name_error("law of intervals", kind, DISTRIBUTIONS)
    return 1.0
