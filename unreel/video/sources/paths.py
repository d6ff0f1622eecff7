"""What a path names: a file, a folder, a URL, a packed corpus, a piece of one (CORPUS/00003.tar#KEY.mp4), or a drawn
video (synthetic://all#12).
"""

import os
import re
from pathlib import Path

PACK_FILE, INDEX_FILE, LISTS_FOLDER, WORK_FOLDER = "pack.json", "index.parquet", "lists", ".packing"
PIECE_SUFFIX = ".mp4"
SYNTHETIC_SCHEME = "synthetic"
_PIECE_PATTERN = re.compile(r"(?P<root>.*?)/?(?P<shard>[^/]+\.tar)#(?P<key>[^/#.]+)\.mp4", re.DOTALL)
_URL_PATTERN = re.compile(r"(?P<scheme>[a-z][a-z0-9+]+):/+(?P<rest>[^/].*)", re.DOTALL)


def normalize_path(path: str | Path) -> str:
    """A path as text; a URL with the double slash that `Path` removes; file:/a/b becomes /a/b."""
    match = _URL_PATTERN.fullmatch(str(path))
    if not match:
        return str(path)
    return f"/{match['rest']}" if match["scheme"] == "file" else f"{match['scheme']}://{match['rest']}"


def absolute_path(path: str | Path) -> str:
    """The absolute path; a URL as it is."""
    return normalize_path(path) if is_remote(path) else os.path.abspath(normalize_path(path))


def real_path(path: str | Path) -> str:
    """The path with links resolved, so that each file has one spelling; a URL as it is."""
    return normalize_path(path) if is_remote(path) else os.path.realpath(normalize_path(path))


def relative_to_root(path: str, root: str) -> str:
    """A path relative to the root of its corpus; the same path where it lies outside."""
    relative = os.path.relpath(path, root)
    return path if relative.startswith(os.pardir) else relative


def is_remote(path: str | Path) -> bool:
    """Whether a path is a URL."""
    return "://" in normalize_path(path)


def is_synthetic(path: str | Path) -> bool:
    """Whether a path names synthetic videos, or one of them.

    >>> is_synthetic("synthetic://all"), is_synthetic("synthetic.mp4")
    (True, False)
    """
    return str(path).startswith(f"{SYNTHETIC_SCHEME}:/")


def is_piece(path: str | Path) -> bool:
    """Whether a path is spelled like the address of a piece."""
    return ".tar#" in str(path) and _PIECE_PATTERN.fullmatch(str(path)) is not None


def is_packed_corpus(source: str | Path) -> bool:
    """Whether a folder holds a packed corpus; a URL always does, unless it is the address of a piece."""
    if is_remote(source):
        return not is_piece(source) and not is_synthetic(source)
    return all(os.path.isfile(os.path.join(normalize_path(source), name)) for name in (PACK_FILE, INDEX_FILE))


def split_piece_path(path: str | Path) -> tuple[str, str, str]:
    """Corpus, name of the shard and key in the address of a piece."""
    match = _PIECE_PATTERN.fullmatch(normalize_path(path))
    assert match, path
    return match["root"] or ".", match["shard"], match["key"]
