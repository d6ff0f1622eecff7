"""Loading code of one's own by its name: a file, or a module.

What is loaded is kept under its reference, the file's name or the module's, so that a run, its checkpoints and its
pages can name it without a path. A file that is named anew is read anew: an edited file is never answered from memory.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from unreel.errors import InputError, OwnCodeError
from unreel.own_code.error_lines import TRACEBACK_HINT, describe_error, find_member_line
from unreel.own_code.imported_sources import are_written_in, find_sources, list_module_functions
from unreel.own_code.names import is_file, split_name
from unreel.own_code.source_files import SourceFiles, collect_sources

MISSING = object()


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

    A file without a folder that is not here means the one that was loaded, as a run names it. `kind` is "method",
    "backbone" and the like, for the sentences. Raises OwnCodeError.
    """
    reference, attribute = split_name(name, kind)
    if is_file(reference) and reference in _LOADED and not Path(reference).is_file():
        return name
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


def list_registered() -> list[OwnCode]:
    """All code that names refer to now."""
    return list(_LOADED.values())


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
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module  # dataclasses look their module up
    with importable(path.parent, sources), explain_import(kind, path.name, sources):
        exec(compile(next(iter(sources.files.values())), path, "exec", dont_inherit=True), vars(module))
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
    if reference.startswith("."):
        raise OwnCodeError(f"{kind} '{name}' is no module; give its file with .py: {reference}.py:NAME")
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


@contextlib.contextmanager
def importable(folder: Path, sources: SourceFiles) -> Iterator[None]:
    """A folder is looked in first, and afterwards last, for what is imported later.

    Modules of the same names that were imported with another text, from here or elsewhere, are forgotten before.
    """
    for name in find_outdated(sources):
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # bytecode may be older than the text by less than Python notices
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
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
