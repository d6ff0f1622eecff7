"""Stand-ins for libraries while help is shown: options stand in files that import torch, which takes seconds, and no
option needs it.

It is what documentation tools do to read code without its dependencies (Sphinx: autodoc_mock_imports).
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from unreel.own_code.installed import GROUPS, list_installed
from unreel.own_code.names import is_own_code

HELP_FLAGS = frozenset(("-h", "--help"))
LIBRARIES = ("torch", "numpy", "cv2", "pyarrow")


class _AnyClass(type):
    """Every attribute, item and union of such a class is the class itself."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, item: object) -> Any:
        return cls

    def __iter__(cls) -> Any:  # without it `__getitem__` would be asked for items without end
        raise TypeError("while help is shown, nothing can be walked through that a library makes")

    def __or__(cls, other: object) -> Any:
        return cls

    __ror__ = __or__


class StandIn(metaclass=_AnyClass):
    """For a class or function of a library: a base class; called as a decorator it leaves what it decorates."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        return args[0] if len(args) == 1 and isinstance(args[0], Callable) else cls  # type: ignore[arg-type]


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds LIBRARIES, and whatever is imported from them."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        is_ours = name.split(".")[0] in LIBRARIES
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_ours else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """None: an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = lambda name: getattr(StandIn, name)  # type: ignore[method-assign]


def use_stand_ins(args: Sequence[str]) -> None:
    """Spare a process that shows help, and then ends, the import of libraries; not where it reads code of one's own."""
    if needs_no_library(args) and not sys.modules.keys() & set(LIBRARIES):
        sys.meta_path.insert(0, StandInFinder())


def needs_no_library(args: Sequence[str]) -> bool:
    """Whether the words of a command ask for help that the files of unreel alone decide.

    >>> needs_no_library(["pretrain", "--help"]), needs_no_library(["pretrain", "videos"])
    (True, False)
    >>> needs_no_library(["pretrain", "--method", "own.py", "-h"])
    False
    """
    reads_more = any(word.split("=")[0] in ("--config", "--") for word in args)  # a run; `explore` loads its page first
    if HELP_FLAGS.isdisjoint(args) or reads_more:
        return False
    words = {part for word in args[1:] if word not in HELP_FLAGS for part in (word, word.partition("=")[2]) if part}
    if any(map(is_own_code, words)):
        return False
    return not words or all(words.isdisjoint(list_installed(kind)) for kind in GROUPS)
