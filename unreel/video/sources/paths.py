"""What a path means: a file, a folder, a URL, a packed corpus, or a piece of one: CORPUS/00003.tar#KEY.mp4."""

import os
import re
from pathlib import Path

PACK_FILE, INDEX_FILE, LISTS_FOLDER, WORK_FOLDER, PIECE_SUFFIX = (
    "pack.json",
    "index.parquet",
    "lists",
    ".packing",
    ".mp4",
)
_PIECE_PATTERN = re.compile(r"(?P<root>.*?)/?(?P<shard>[^/]+\.tar)#(?P<key>[^/#.]+)\.mp4", re.DOTALL)
_URL_PATTERN = re.compile(r"(?P<scheme>[a-z][a-z0-9+]+):/+(?P<rest>[^/].*)", re.DOTALL)


def normalize_path(path: str | Path) -> str:
    """A path as text, a URL with both slashes again that `Path` makes one of; file:/a/b is the path /a/b."""
    found = _URL_PATTERN.fullmatch(str(path))
    if not found:
        return str(path)
    return f"/{found['rest']}" if found["scheme"] == "file" else f"{found['scheme']}://{found['rest']}"


def absolute_path(path: str | Path) -> str:
    """The full path; a URL is one already."""
    return normalize_path(path) if is_remote(path) else os.path.abspath(normalize_path(path))


def real_path(path: str | Path) -> str:
    """One spelling for each file: links followed, a URL as it is."""
    return normalize_path(path) if is_remote(path) else os.path.realpath(normalize_path(path))


def relative_to_root(path: str, root: str) -> str:
    """A path relative to the root of its corpus; the same path where it lies outside."""
    relative = os.path.relpath(path, root)
    return path if relative.startswith(os.pardir) else relative


def is_remote(path: str | Path) -> bool:
    return "://" in normalize_path(path)


def is_piece(path: str | Path) -> bool:
    """Whether this is the address of a piece; only the spelling is looked at."""
    return ".tar#" in str(path) and _PIECE_PATTERN.fullmatch(str(path)) is not None


def is_packed_corpus(source: str | Path) -> bool:
    """Whether a folder holds a packed corpus; a URL can be nothing else, but for a piece."""
    if is_remote(source):
        return not is_piece(source)
    return all(os.path.isfile(os.path.join(normalize_path(source), name)) for name in (PACK_FILE, INDEX_FILE))


def split_piece_path(path: str | Path) -> tuple[str, str, str]:
    """Corpus, name of the shard and key of a piece's address."""
    found = _PIECE_PATTERN.fullmatch(normalize_path(path))
    assert found, path
    return found["root"] or ".", found["shard"], found["key"]
