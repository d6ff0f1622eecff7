"""Loading code of one's own: a file, a module, or an object that Python hands over.

What is loaded is kept under its reference, the file's name or the module's, so that a run, its checkpoints and its
pages can name it without a path. A file that is named anew is read anew: an edited file is never answered from memory.
"""

import contextlib
import importlib
import importlib.util
import inspect
import linecache
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from unreel.errors import InputError, OwnCodeError
from unreel.own_code.error_lines import TRACEBACK_HINT, describe_error, find_member_line
from unreel.own_code.names import METHOD, is_file, is_own_code, split_name
from unreel.own_code.source_files import SourceFiles, collect_sources

MISSING = object()
GENERATED = "<string>"  # the file of functions that dataclasses write


@dataclass(frozen=True)
class OwnCode:
    """A module of one's own with its source; `objects` are those that Python handed over."""

    reference: str
    module: ModuleType
    sources: SourceFiles
    objects: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """What the code calls by this name; MISSING if it has nothing of it."""
        return self.objects[name] if name in self.objects else getattr(self.module, name, MISSING)

    def find_line(self, *names: str) -> str:
        """`FILE:LINE` where a member is defined."""
        return find_member_line(self.sources, *names)


_LOADED: dict[str, OwnCode] = {}


def load_named(name: str, kind: str) -> str:
    """Load what a person has named, from the disk as it is now; returns the name without its folder.

    `kind` is "method", "backbone" and the like, for the sentences. Raises OwnCodeError.
    """
    reference, attribute = split_name(name, kind)
    code = load_file(Path(reference), kind) if is_file(reference) else load_module(reference, name, kind)
    _LOADED[code.reference] = code
    if not is_file(reference):
        return name
    return f"{code.reference}:{attribute}" if attribute else code.reference


def get_loaded(name: str, kind: str) -> OwnCode:
    """The code of a name that was loaded before, else loaded now. Raises OwnCodeError."""
    reference = split_name(name, kind)[0]
    if reference not in _LOADED:
        reference = split_name(load_named(name, kind), kind)[0]
    code = _LOADED[reference]
    if not is_file(reference) and not code.objects and sys.modules.get(reference) is not code.module:
        load_named(name, kind)
    return _LOADED[reference]


def get_member(name: str, kind: str) -> tuple[OwnCode, Any]:
    """The code of `file.py:member` or `module:member`, and the member. Raises OwnCodeError."""
    code, (reference, attribute) = get_loaded(name, kind), split_name(name, kind)
    if not attribute:
        raise OwnCodeError(
            f"{kind} '{name}' can't be imported: it names no member of {reference}; write {reference}:NAME"
        )
    member = code.get(attribute)
    if member is MISSING:
        public = [
            n for n, value in vars(code.module).items() if getattr(value, "__module__", "") == code.module.__name__
        ]
        known = f"; it defines {', '.join(public)}" if public else ""
        raise OwnCodeError(f"{kind} '{name}' can't be imported: there is no '{attribute}' in {reference}{known}")
    return code, member


def register(code: OwnCode) -> None:
    """Let names refer to this code from now on."""
    _LOADED[code.reference] = code


def find_registered(reference: str) -> OwnCode | None:
    """The code that names refer to now; None where nothing was loaded."""
    return _LOADED.get(reference)


def load_file(path: Path, kind: str, root: Path | None = None) -> OwnCode:
    """Run a file as a module; what lies in its folder can be imported by it. Raises OwnCodeError."""
    path = Path(os.path.abspath(path))
    if not path.is_file():
        raise OwnCodeError(f"{kind} '{path.name}': there is no file {path}")
    sources = collect_sources(path, root or path.parent)
    known = _LOADED.get(path.name)
    if known is not None and known.sources == sources and not known.objects:
        return known
    module_name = f"{path.stem}_{sources.hash[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    with importable(path.parent, sources), explain_import(kind, path.name, sources):
        spec.loader.exec_module(module)
    return OwnCode(path.name, module, sources)


def load_module(reference: str, name: str, kind: str, folder: Path | None = None) -> OwnCode:
    """Import a module from `folder`, by default from the current one or where Python finds it. Raises OwnCodeError."""
    known = _LOADED.get(reference)
    if folder is None and known is not None and sys.modules.get(reference) is known.module:
        is_current = are_written_in(known.sources, list_module_functions(known.module))  # not after a reload
        return known if is_current else replace(known, sources=find_sources(known.module))
    sources = SourceFiles()
    if folder is not None:
        sources = collect_sources(folder / find_file_name(folder, reference), folder)
    with importable(folder or Path.cwd(), sources), explain_import(kind, name, sources):
        module = import_by_name(reference, name, kind)
    if folder is None:
        sources = find_sources(module)
    return OwnCode(reference, module, sources)


def import_by_name(reference: str, name: str, kind: str) -> ModuleType:
    """Import; a module that is not there is a sentence that says where it was looked for."""
    try:
        return importlib.import_module(reference)
    except (ImportError, ValueError) as error:
        missing = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and not f"{reference}.".startswith(f"{missing}."):
            raise  # it is there, and what it imports is not
        places = f"not in the current folder {Path.cwd()}, nor where Python looks"
        raise OwnCodeError(
            f"{kind} '{name}' can't be imported ({error}), {places}; give its file, path/to/file.py:NAME, or set "
            "PYTHONPATH to its folder"
        ) from error


def find_file_name(folder: Path, reference: str) -> Path:
    """The file of a module below a folder."""
    module = Path(*reference.split("."))
    return module / "__init__.py" if (folder / module / "__init__.py").is_file() else module.with_suffix(".py")


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


@contextlib.contextmanager
def importable(folder: Path, sources: SourceFiles) -> Iterator[None]:
    """A folder is looked in first, and afterwards last, for what is imported later.

    Modules of the same names that were imported with another text, from here or elsewhere, are forgotten before.
    """
    for name in find_outdated(sources):
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


_IMPORTED_TEXTS: dict[str, bytes] = {}  # of each file of one's own, by its path, when it was last imported


def find_outdated(sources: SourceFiles) -> list[str]:
    """Imported modules whose name these files have, and whose text was another when they were imported."""
    outdated = []
    for name, content in sources.files.items():
        module_name = ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__")
        file = getattr(sys.modules.get(module_name), "__file__", None)
        if file and _IMPORTED_TEXTS.get(file, read_or_nothing(file)) != content:
            outdated.append(module_name)
        _IMPORTED_TEXTS[f"{sources.root}/{name}"] = content
    return outdated


def read_or_nothing(file: str) -> bytes:
    """The bytes of a file; none where it can't be read."""
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


@contextlib.contextmanager
def explain_import(kind: str, name: str, sources: SourceFiles) -> Iterator[None]:
    """Raise OwnCodeError, with the line, for whatever code raises while it is imported."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = describe_error(error, sources)
        raise OwnCodeError(f"{kind} '{name}' can't be imported ({reason}); {TRACEBACK_HINT}") from error


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
    for code in _LOADED.values():
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
