"""Evaluations on frozen features, found by file: every file of protocols/ that sets `PROTOCOL` to a FeatureProtocol.

One of your own is named by its file, "ranks.py" or "ranks.py:NAME", as `module:NAME`, or by the name that an installed
package offers.
"""

import ast
import functools
import importlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unreel.errors import require_known, unknown_name_error
from unreel.evaluation import protocols
from unreel.own_code.installed import expand_name, list_installed
from unreel.own_code.names import is_file, is_own_code

if TYPE_CHECKING:  # the help of `unreel evaluate` needs no torch
    from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions, FeatureProtocol


@dataclass(frozen=True)
class ProtocolEntry:
    """What the help says of a protocol, the module that has it, and where its options are: "MODULE:CLASS"."""

    module: str
    options: str
    name: str
    order: int
    summary: str


def list_protocols() -> dict[str, ProtocolEntry]:
    """All protocols by name, in the order of the help; reads their files but imports none."""
    return dict(_read_folders(tuple(protocols.__path__)))


@functools.cache
def _read_folders(folders: tuple[str, ...]) -> dict[str, ProtocolEntry]:
    """Each file is parsed once in a process."""
    files = (file for folder in folders for file in Path(folder).glob("*.py"))
    entries = [entry for file in files for entry in _read_entries(file)]
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: (entry.order, entry.name))}


def _read_entries(file: Path) -> Iterator[ProtocolEntry]:
    """The entry of a file that sets PROTOCOL; none for other files."""
    module, imported_from = f"{protocols.__name__}.{file.stem}", dict[str, str]()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.ImportFrom(module=str(source), names=names):
                imported_from |= {alias.name: source for alias in names}
            case ast.Assign(targets=[ast.Name(id="PROTOCOL")], value=ast.Call(keywords=keywords)):
                named = {k.arg: ast.literal_eval(k.value) for k in keywords if k.arg in ("name", "order", "summary")}
                options = next(ast.unparse(k.value) for k in keywords if k.arg == "options")
                yield ProtocolEntry(module, f"{imported_from.get(options, module)}:{options}", **named)


def load_protocol_options(name: str) -> type:
    """The dataclass of a protocol's options; imports the file that defines it, which may need no torch.

    Raises InputError that lists the known names.

    >>> load_protocol_options("knn").__name__
    'KnnOptions'
    """
    if name not in list_protocols():
        return load_protocol(name).options
    module, _, options = _find_entry(name).options.partition(":")
    options_type: type = getattr(importlib.import_module(module), options)
    return options_type


def load_protocol(name: str) -> "FeatureProtocol[Any]":
    """A protocol by its name; imports its file, one of your own as it is now. Raises InputError, OwnCodeError."""
    if own := name_own_protocol(name):
        from unreel.evaluation.feature_protocol import load_own_protocol

        return load_own_protocol(own)
    protocol: FeatureProtocol[Any] = importlib.import_module(_find_entry(name).module).PROTOCOL
    return protocol


def name_own_protocol(name: str) -> str:
    """How code of one's own with a protocol is named in full; "" for a name of unreel, or an unknown one.

    >>> name_own_protocol("ranks.py"), name_own_protocol("knn")
    ('ranks.py:PROTOCOL', '')
    """
    expanded = expand_name(name, "protocol", list_protocols())
    return f"{expanded}:PROTOCOL" if is_file(expanded) else expanded if is_own_code(expanded) else ""


def unknown_protocol_error(name: str, others: Collection[str] = ()) -> Exception:
    """The error that lists the protocols of unreel, those of installed packages, and `others`."""
    return unknown_name_error("evaluation", name, [*list_protocols(), *others, *list_installed("protocol")])


def _find_entry(name: str) -> ProtocolEntry:
    entries = list_protocols()
    if name not in entries:
        raise unknown_protocol_error(name)
    return entries[name]


def build_evaluations(
    name: "str | FeatureProtocol[Any]", feature_options: "ExtractionOptions", **options: Any
) -> "dict[str, Evaluation]":
    """The evaluations of a protocol, by its name or itself, with these options, by the name of their result.

    Raises InputError.

    >>> from unreel.evaluation.feature_protocol import ExtractionOptions
    >>> list(build_evaluations("retrieval", ExtractionOptions(), protocol="dualvar"))
    ['retrieval-dualvar']
    """
    protocol = load_protocol(name) if isinstance(name, str) else name
    known = [field.name for field in fields(protocol.options)]
    require_known(f"option of {protocol.name}", options, known)
    return protocol.build(protocol.options(**options), feature_options)


def build_standard_suite(feature_options: "ExtractionOptions") -> "dict[str, Evaluation]":
    """What `unreel evaluate all` runs, in the order of its report."""
    suite: dict[str, Evaluation] = {}
    for protocol in map(load_protocol, list_protocols()):
        for options in protocol.in_suite:
            suite |= protocol.build(options, feature_options)
    return suite
