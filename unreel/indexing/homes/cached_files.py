"""The files of an index from its database, in a folder of the local cache: the encoder, the rows without vectors."""

import contextlib
import os
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

from unreel.indexing.homes.content import FILE_PREFIX, join_pieces
from unreel.indexing.homes.home import Home
from unreel.io.atomic_write import atomic_folder, disk_errors
from unreel.io.checksums import hash_bytes, hash_file
from unreel.io.disk_cache import get_cache_folder
from unreel.io.file_lock import LOCK_FILE, wait_for_lock

CACHE_FOLDER = "homes"
FETCH_LIMIT_S = 600.0  # how long another process may fetch the same files
KEPT_FOR_S = 30 * 86_400.0  # how long files stay that nobody opened
ADVICE = "free some space, or name another folder in UNREEL_CACHE"


def get_homes_folder() -> Path:
    return get_cache_folder() / CACHE_FOLDER


def fetch_files(home: Home, description: dict[str, Any]) -> Path:
    """The folder with the files that a description names, fetched once for each writing of the index.

    Raises DiskError, and InputError for a file that is missing in the database or damaged.
    """
    base, files = get_homes_folder(), description["files"]
    folder = base / hash_bytes(description["id"].encode())
    with disk_errors(folder, "the files of the index can't be kept", ADVICE):
        if not _is_complete(home, folder, files):
            base.mkdir(parents=True, exist_ok=True)
            with wait_for_lock(base / LOCK_FILE, FETCH_LIMIT_S):  # several servers begin at once
                if not _is_complete(home, folder, files):
                    _fetch_all(home, folder, files)
        os.utime(folder)
    return folder


def _is_complete(home: Home, folder: Path, files: dict[str, str]) -> bool:
    return all((folder / _require_relative(home, name)).is_file() for name in files)


def _fetch_all(home: Home, folder: Path, files: dict[str, str]) -> None:
    """Make the folder with these files (names and hashes) at once; what nobody opened for long makes room."""
    known = _list_known_files(folder.parent)
    with atomic_folder(folder, overwrite=True) as temporary:
        for name, hash_ in sorted(files.items()):
            _put_file(home, temporary / _require_relative(home, name), hash_, known)
    _delete_old(folder.parent, folder)


def _require_relative(home: Home, name: str) -> str:
    """The name of a file, which must lie inside its folder. Raises InputError."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise home.fail(f"the index names a file outside itself ({name[:40]!r})", "export the index again")
    return name


def _put_file(home: Home, path: Path, hash_: str, known: dict[str, list[Path]]) -> None:
    """Write a file of the index, or give the same file of an earlier writing a second name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for candidate in known.get(path.name, []):
        with contextlib.suppress(OSError):
            if hash_file(candidate) == hash_:
                os.link(candidate, path)
                return
    records = home.read_records(FILE_PREFIX + hash_)
    data = join_pieces(records)
    if hash_bytes(data) != hash_:
        what = "is damaged" if records else "is missing"
        raise home.fail(f"half an index, its file {path.name} {what} in the database", "export the index again")
    path.write_bytes(data)


def _list_known_files(base: Path) -> dict[str, list[Path]]:
    """Files of earlier writings in the cache, by name."""
    known: dict[str, list[Path]] = {}
    for path in base.glob("[0-9a-f]*/**/*"):
        if path.is_file():
            known.setdefault(path.name, []).append(path)
    return known


def _delete_old(base: Path, current: Path) -> None:
    """Delete folders that nobody opened for a month."""
    for folder in base.glob("[0-9a-f]*"):
        with contextlib.suppress(OSError):
            if folder != current and time.time() - folder.stat().st_mtime > KEPT_FOR_S:
                shutil.rmtree(folder, ignore_errors=True)
