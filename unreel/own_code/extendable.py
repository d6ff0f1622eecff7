"""A table of names that code of one's own extends: what is not in the table is loaded by its name."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from unreel.own_code.loading import get_member
from unreel.own_code.names import is_own_code

T = TypeVar("T")


class Extendable(dict[str, T], Generic[T]):
    """The entries of unreel by name; "file.py:NAME" loads one's own, which `adapt` brings into the table's form.

    Whether a name is known is decided without loading anything.

    >>> table = Extendable("square", {"four": 4}, lambda name, made: made)
    >>> "four" in table, "own.py:nine" in table, "nine" in table, list(table)
    (True, True, False, ['four'])
    """

    def __init__(self, kind: str, entries: dict[str, T], adapt: Callable[[str, Any], T]) -> None:
        super().__init__(entries)
        self.kind, self.adapt = kind, adapt

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and is_own_code(name))

    def __missing__(self, name: str) -> T:
        if not is_own_code(name):
            raise KeyError(name)
        return self.adapt(name, get_member(name, self.kind)[1])
