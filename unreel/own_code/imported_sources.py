"""The source of modules that Python has imported, known only where it is what runs."""

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from unreel.own_code.source_files import SourceFiles, collect_sources

GENERATED = "<string>"  # the file of functions that dataclasses write


def find_sources(module: ModuleType, functions: Sequence[Callable[..., Any]] = ()) -> SourceFiles:
    """The source of an imported module; none for one that has no file, or whose `functions` (by default all) are older.

    Warns of the latter.
    """
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return SourceFiles()
    path, depth = Path(os.path.abspath(file)), len(module.__name__.split("."))
    is_script = module.__name__ == "__main__"
    root = path.parent if is_script else path.parents[depth - 1 + (path.name == "__init__.py")]
    sources = collect_sources(path, root)
    if are_written_in(sources, functions or list_module_functions(module)):
        return sources
    advice = "import it again, or name the file itself, which is read anew"
    warnings.warn(
        f"{path} was edited after it was imported, so the source of what runs is not known; {advice}",
        RuntimeWarning,
        stacklevel=2,
    )
    return SourceFiles()


def are_written_in(sources: SourceFiles, functions: Sequence[Callable[..., Any]]) -> bool:
    """Whether functions are those of a file, which may have been edited since it was imported."""
    if not sources.files:
        return True
    text = next(iter(sources.files.values()))
    written = set(list_code(compile(text, str(sources.main), "exec", dont_inherit=True)))
    return all(function.__code__ in written for function in functions)


def list_module_functions(module: ModuleType) -> list[Callable[..., Any]]:
    """The functions that a module defines, and those of its classes."""
    own = [part for part in vars(module).values() if getattr(part, "__module__", "") == module.__name__]
    values = [f for part in (module, *filter(inspect.isclass, own)) for f in vars(part).values()]
    return [f for f in values if inspect.isfunction(f) and is_written(f, module)]


def is_written(function: Any, module: ModuleType) -> bool:
    """Whether a function stands in the text of a module, unlike those that dataclasses make."""
    return function.__globals__ is vars(module) and function.__code__.co_filename != GENERATED


def list_code(code: CodeType) -> Iterator[CodeType]:
    """A code object and all within it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from list_code(part)
