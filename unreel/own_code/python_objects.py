"""Code of one's own that Python hands over: modules, classes and functions get a name under which a run knows them."""

import inspect
import linecache
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from unreel.errors import OwnCodeError
from unreel.own_code.imported_sources import are_written_in, find_sources, is_written, list_module_functions
from unreel.own_code.loading import OwnCode, find_registered, get_loaded, list_registered, load_named, register
from unreel.own_code.names import METHOD, is_own_code
from unreel.own_code.source_files import SourceFiles


def register_object(value: Any, kind: str) -> str:
    """The name of a module, class or function that Python hands over; names refer to it from now on.

    Raises OwnCodeError for anything else: of an object that was made, a checkpoint could not make another.
    """
    if isinstance(value, ModuleType):
        reference, sources = name_module(value, ())
        register(OwnCode(reference, value, sources))
        return reference
    if not callable(value) or not hasattr(value, "__qualname__"):
        raise OwnCodeError(
            f"{kind}: a {type(value).__name__} object can't be recorded; give a class, a function or a module, or a "
            "name such as file.py:NAME"
        )
    module, name = sys.modules[value.__module__], value.__name__
    reference, sources = name_module(module, list_functions(value))
    known = find_registered(reference)
    kept = dict(known.objects) if known is not None and known.module is module else {}
    register(OwnCode(reference, module, sources, kept | {name: value}))
    return f"{reference}:{name}"


def name_module(module: ModuleType, functions: tuple[Callable[..., Any], ...]) -> tuple[str, SourceFiles]:
    """What a module is called in a run, and its source; cells of a notebook become one file."""
    for code in list_registered():
        is_same = code.module is module and are_written_in(code.sources, functions or list_module_functions(module))
        if is_same and not code.objects:
            return code.reference, code.sources
    sources = find_sources(module, functions)
    if getattr(module, "__file__", None):
        return (Path(module.__file__ or "").name if module.__name__ == "__main__" else module.__name__), sources
    cells = dict.fromkeys(function.__code__.co_filename for function in functions)
    text = "\n\n".join("".join(linecache.getlines(cell)) for cell in cells)
    return "notebook.py", SourceFiles("", {"notebook.py": text.encode()} if text else {})


def list_functions(value: Any) -> tuple[Callable[..., Any], ...]:
    """The functions of a class, or the function itself, and those of a Config beside it."""
    if not inspect.isclass(value):
        return (inspect.unwrap(value),) if hasattr(inspect.unwrap(value), "__code__") else ()
    parts = [value, getattr(value, "Config", None) or getattr(sys.modules[value.__module__], "Config", None)]
    functions = (f for part in parts if part is not None for f in vars(part).values() if inspect.isfunction(f))
    return tuple(f for f in functions if is_written(f, sys.modules[value.__module__]))


def name_own_code(options: Mapping[str, Any], *loaded: str) -> dict[str, str]:
    """Load what the options of a run name as code of one's own, by a name or as an object; returns the names.

    `loaded` are methods that were loaded before. Raises OwnCodeError, also where two files share a name, since a run
    could not tell them apart.
    """
    codes = [get_loaded(name, METHOD) for name in loaded if is_own_code(name)]
    names: dict[str, str] = {}
    for option, value in options.items():
        kind = option.replace("_", "-")
        if not isinstance(value, str):
            names[option] = register_object(value, kind)
        elif is_own_code(value):
            names[option] = load_named(value, kind)
        else:
            continue
        codes.append(get_loaded(names[option], kind))
    for code in codes:
        others = [other for other in codes if other.reference == code.reference and other.sources != code.sources]
        if others:
            raise OwnCodeError(
                f"two files of this run are called {code.reference}: {others[0].sources.main} and {code.sources.main}; "
                "rename one of them"
            )
    return names
