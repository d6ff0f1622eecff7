"""Files and folders that appear whole or not at all: written under a temporary name, then renamed.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "notes.txt"
    >>> with disk_errors(path), atomic_path(path) as temporary:
    ...     count = temporary.write_text("all of it")
    >>> path.read_text()
    'all of it'
    >>> folder.cleanup()

A process that is killed leaves its temporary file (.NAME.NUMBER.part) behind; `remove_leftovers` deletes such files.
"""

import contextlib
import csv
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unreel.errors import DiskError
from unreel.io.retry import retry_on_stall

LEFTOVER_PATTERNS = (".*.part", ".writing-*")  # the second: of earlier versions


@contextlib.contextmanager
def atomic_path(path: Path, sync: bool = True) -> Iterator[Path]:
    """A temporary path to write to. The file becomes `path` when the block ends, and is deleted when it raises.

    With `sync` the bytes are on the disk before, so that a power cut leaves the old file or the new one.
    """
    temporary = _build_temporary_path(path)
    with contextlib.suppress(OSError):
        temporary.unlink()  # of a process that was killed; a link at this name would be followed
    try:
        yield temporary
        move_into_place(temporary, path, sync)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def move_into_place(temporary: Path, path: Path, sync: bool = True) -> None:
    """Give a finished temporary file its name, as `atomic_path` does at its end. Raises OSError."""
    if sync:
        sync_path(temporary)
    temporary.replace(path)


@contextlib.contextmanager
def atomic_folder(path: Path, sync: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """An empty temporary folder to fill. It becomes `path` when the block ends, and is deleted when it raises.

    With `overwrite` a folder that is there already is deleted first; without it, one with files in it is an OSError.
    """
    temporary = _build_temporary_path(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if sync:
            sync_folder(temporary)
        if overwrite:
            shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        if sync:
            sync_path(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def atomic_write_bytes(path: Path, data: bytes, sync: bool = True) -> None:
    """Write a file of these bytes, again where the file system stalls. Raises OSError."""

    def write() -> None:
        with atomic_path(path, sync) as temporary:
            temporary.write_bytes(data)

    retry_on_stall(write)


def atomic_write_text(path: Path, text: str, sync: bool = True) -> None:
    """`atomic_write_bytes` for text, in UTF-8."""
    atomic_write_bytes(path, text.encode("utf-8"), sync)


def atomic_write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with a header; odd file names keep their bytes. Raises DiskError."""
    with (
        disk_errors(path),
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def append_text(path: Path, text: str) -> None:
    """Add to the end of a file, exactly once also where the file system stalls meanwhile. Raises OSError."""
    size_bytes = retry_on_stall(lambda: path.stat().st_size if path.exists() else 0)

    def write() -> None:
        with open(path, "a", newline="", encoding="utf-8") as file:
            if path.is_file():
                file.truncate(size_bytes)  # removes what a failed try has written
            file.write(text)

    retry_on_stall(write)


@contextlib.contextmanager
def disk_errors(
    path: Path,
    problem: str = "can't be written",
    advice: str = "free some space, or choose another place",
    errors: tuple[type[Exception], ...] = (OSError,),
) -> Iterator[None]:
    """Raise DiskError in place of `errors`; its text is path, problem, the reason of the error, advice."""
    try:
        yield
    except errors as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DiskError(f"{path}: {problem} ({reason}); {advice}") from error


def sync_folder(folder: Path) -> None:
    """Bring a folder and every file in it to the disk."""
    for path in [*folder.iterdir(), folder]:
        sync_path(path)


def sync_path(path: Path) -> None:
    """Bring a file to the disk, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files and folders of processes that were killed. Only for who holds the folder's lock."""
    for pattern in LEFTOVER_PATTERNS:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _build_temporary_path(path: Path) -> Path:
    """One for each thread of each process: the number of a main thread is that of its process."""
    return path.with_name(f".{path.name}.{threading.get_native_id()}.part")
