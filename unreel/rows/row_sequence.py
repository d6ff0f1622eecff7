"""A sequence whose rows are made when they are asked for."""

from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row", covariant=True)


class RowSequence(Sequence[Row]):
    """Equal to any sequence of the same rows, and, as a list, without a hash."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]
