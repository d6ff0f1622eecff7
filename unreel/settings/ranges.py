"""Range checks of options, each with the same sentence."""

import math
from typing import Any

from unreel.errors import InputError


def check_ranges(options: Any, **ranges: tuple[float, float]) -> None:
    """Each named field lies between its two bounds and is finite. Raises InputError."""
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if not (low <= value <= high and value < math.inf):
            allowed = f"lie between {low:g} and {high:g}" if high < math.inf else f"be at least {low:g} and finite"
            raise InputError(f"{name} must {allowed}, got {value}")


def check_positive(options: Any, *names: str) -> None:
    """Each named field is above 0 and finite. Raises InputError."""
    for name in names:
        if not 0 < getattr(options, name) < math.inf:
            raise InputError(f"{name} must be above 0 and finite, got {getattr(options, name)}")
