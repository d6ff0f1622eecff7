"""Copies of code of one's own, beside what was made with it, so that it can be used where the original is not.

FOLDER/code/sources.json            which code, its hash, and where its original was
            tubelet-1a2b3c4d/       its files
"""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unreel.errors import CheckpointError, OwnCodeError
from unreel.io.text import parse_json
from unreel.own_code.loading import OwnCode, find_registered, get_loaded, load_file, load_module, register
from unreel.own_code.names import is_file, is_own_code, split_name
from unreel.own_code.source_files import SourceFiles, collect_sources

CODE_FOLDER, SOURCES_FILE = "code", "sources.json"
FORMAT_VERSION = 1
NO_SOURCES: dict[str, SourceFiles] = {}


def describe_code(names: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is kept of code of one's own: `names` are those of a run, e.g. {"method": "tubelet.py:barlow"}."""
    return [describe_sources(kind, name, get_loaded(name, kind).sources) for kind, name in list_own(names)]


def list_own(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Those of the names that are code of one's own."""
    return [(kind, name) for kind, name in names.items() if is_own_code(name)]


def describe_sources(kind: str, name: str, sources: SourceFiles) -> dict[str, Any]:
    """A source with its hash, its place, and the hash of each file."""
    files = sources.hash_files()
    folder = f"{sources.main.stem}-{sources.hash[:8]}" if files else ""
    return {"kind": kind, "name": name, "hash": sources.hash, "root": sources.root, "folder": folder, "files": files}


def save_copies(folder: Path, names: Mapping[str, str], known: Mapping[str, SourceFiles] = NO_SOURCES) -> None:
    """Write FOLDER/code for the names that are code of one's own; nothing where there is none. Raises OSError.

    `known` has sources that may no longer be those that names refer to.
    """
    sources = {kind: known.get(kind) or get_loaded(name, kind).sources for kind, name in list_own(names)}
    own = [describe_sources(kind, names[kind], found) for kind, found in sources.items()]
    if not own:
        return
    for entry in own:
        for name, content in sources[entry["kind"]].files.items():
            path = folder / CODE_FOLDER / entry["folder"] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    text = json.dumps({"format": FORMAT_VERSION, "code": own}, indent=2) + "\n"
    (folder / CODE_FOLDER / SOURCES_FILE).write_text(text, encoding="utf-8")


def use_copies(folder: Path) -> None:
    """`load_copies`, with a warning where copies stand in for their originals."""
    if notes := load_copies(folder):
        warnings.warn("; ".join(notes), RuntimeWarning, stacklevel=3)


def load_copies(folder: Path) -> list[str]:
    """Load the code that FOLDER/code keeps: the original where it is unchanged, else the copy.

    Runs that code, so its owner must have agreed. Returns a sentence for each copy that is used. Raises
    CheckpointError where neither is what it was.
    """
    code_folder = Path(os.path.abspath(folder / CODE_FOLDER))
    path = code_folder / SOURCES_FILE
    if not path.exists():
        return []  # there is none, or the folder is of an earlier version: names are looked up as they are
    try:
        entries = parse_json(path.read_text(encoding="utf-8"))["code"]
        return [note for entry in entries if (note := load_copy(code_folder, entry))]
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: can't be read ({error}); put back a copy of it") from error


def list_changed_originals(folder: Path) -> list[Path]:
    """The files of one's own, kept in FOLDER/code, whose originals are another text by now; runs none of them."""
    path = folder / CODE_FOLDER / SOURCES_FILE
    if not path.exists():
        return []
    try:
        entries = parse_json(path.read_text(encoding="utf-8"))["code"]
        originals = [
            (Path(entry["root"]), next(iter(entry["files"])), str(entry["hash"])) for entry in entries if entry["root"]
        ]
    except (OSError, KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise CheckpointError(f"{path}: can't be read ({error}); put back a copy of it") from error
    return [
        root / main for root, main, hash_ in originals if (root / main).is_file() and not has_hash(root, main, hash_)
    ]


def load_copy(code_folder: Path, entry: Mapping[str, Any]) -> str:
    """Load one source; returns why the copy is used, "" where the original is."""
    kind, name, expected = str(entry["kind"]), str(entry["name"]), str(entry["hash"])
    reference = split_name(name, kind)[0]
    known = find_registered(reference)
    if not entry["files"] or (known is not None and known.sources.hash == expected):
        return ""
    if known is not None and "view" in kind:
        problem = f"its view '{name}' is not the {reference} that this process has loaded"
        raise CheckpointError(f"{code_folder.parent}: {problem}; use a process of its own")
    main, copied, original = next(iter(entry["files"])), code_folder / entry["folder"], Path(entry["root"])
    place = original / main if entry["root"] else "its original, which was no file,"
    if entry["root"] and has_hash(original, main, expected):
        register(load_from(original, main, reference, kind))
        return ""
    if not has_hash(copied, main, expected):
        raise CheckpointError(
            f"{copied / main} is missing or was changed, and so is {place}; put back {main} as it was (hash "
            f"{expected[:8]})"
        )
    register(load_from(copied, main, reference, kind))
    return f"{kind} '{name}': {place} is gone or was changed; the copy {copied / main} is used"


def has_hash(root: Path, main: str, expected: str) -> bool:
    """Whether the file below `root`, with what it imports from there, is what it was."""
    try:
        return (root / main).is_file() and collect_sources(root / main, root).hash == expected
    except (OSError, OwnCodeError):
        return False


def load_from(root: Path, main: str, reference: str, kind: str) -> OwnCode:
    """Load a file or module from this folder."""
    if is_file(reference):
        return load_file(root / main, kind, root)
    return load_module(reference, reference, kind, root)
