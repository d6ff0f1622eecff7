"""A table of names that code of one's own and installed packages extend: what it lacks is loaded by its name."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from unreel.own_code.installed import expand_name, list_installed
from unreel.own_code.loading import get_member
from unreel.own_code.names import is_own_code

T = TypeVar("T")


class Extendable(dict[str, T], Generic[T]):
    """The entries of unreel by name; "file.py:NAME", or a name that an installed package offers, loads another, which
    `adapt` brings into the table's form.

    Whether a name is known is decided without loading anything.

    >>> table = Extendable("view", {"four": 4}, lambda name, made: made)
    >>> "four" in table, "own.py:nine" in table, "nine" in table, list(table)
    (True, True, False, ['four'])
    """

    def __init__(self, kind: str, entries: dict[str, T], adapt: Callable[[str, Any], T]) -> None:
        super().__init__(entries)
        self.kind, self.adapt = kind, adapt

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name) or not isinstance(name, str):
            return super().__contains__(name)
        return is_own_code(name) or name in list_installed(self.kind)

    def list_known(self) -> list[str]:
        """The names of unreel and of installed packages."""
        return [*self, *list_installed(self.kind)]

    def __missing__(self, name: str) -> T:
        expanded = expand_name(name, self.kind, self.keys())
        if not is_own_code(expanded):
            raise KeyError(name)
        return self.adapt(expanded, get_member(expanded, self.kind)[1])
