"""Where a server's index lies: in a folder, or in a database; what it asks there beside searching."""

import contextlib
import os
import threading
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Protocol

from unreel.corpus.file_tracker import FileRecords, load_records
from unreel.errors import UnreelError
from unreel.indexing.homes.address import HomeAddress, hide_secrets, parse_address
from unreel.indexing.homes.approximate import Nearest
from unreel.indexing.homes.home import FILLING_RECORD, INDEX_RECORD, connect_home
from unreel.indexing.homes.open_home import open_home, open_index
from unreel.indexing.index.clip_index import Index
from unreel.indexing.store.embeddings_file import list_parts
from unreel.indexing.store.file_names import ANN_INDEX_FILE, FILES_PARQUET, VECTORS_NPY
from unreel.io.file_lock import is_locked
from unreel.io.text import name_folder
from unreel.serve.index_progress import IndexProgress

STAMP_S = 3.0  # for which a database is not asked again whether it has another index


class IndexSource(Protocol):
    """The place of an index; `place` is what commands call it, `lacks_commands` those that can't take it.

    `max_searches` run at a time: more threads than cores only take turns, and the event loop waits for them.
    """

    name: str
    place: str
    max_searches: int
    lacks_commands: tuple[str, ...]

    def open(self) -> tuple[Index, FileRecords]:
        """The index that is there now, and the records of its files. Raises InputError."""
        ...

    def read_stamps(self) -> Hashable:
        """What changes with the rows of the index. Raises InputError when a database does not answer."""
        ...

    def is_being_written(self) -> bool:
        """Whether an index is being made there just now."""
        ...

    def read_progress(self) -> dict[str, Any]:
        """Rows and videos so far, the number of all videos (0: unknown), and whether it is being written."""
        ...


class FolderSource:
    """An index in a folder, which `unreel index` may be filling."""

    lacks_commands: tuple[str, ...] = ()
    max_searches = os.cpu_count() or 1

    def __init__(self, folder: Path, nearest: Nearest | None = None) -> None:
        self.nearest = nearest
        self.folder, self.name, self.place = folder, name_folder(folder), str(folder)
        self.progress = IndexProgress(folder)

    def open(self) -> tuple[Index, FileRecords]:
        return open_index(self.folder, self.nearest), load_records(self.folder / FILES_PARQUET)

    def read_stamps(self) -> Hashable:
        """Name, time of change and size of the files that change with the rows, also when videos only move."""
        stamps = set()
        for path in (*list_parts(self.folder), self.folder / VECTORS_NPY, self.folder / ANN_INDEX_FILE):
            with contextlib.suppress(OSError):
                status = path.stat()
                stamps.add((path.name, status.st_mtime_ns, status.st_size))
        return frozenset(stamps)

    def is_being_written(self) -> bool:
        return is_locked(self.folder)

    def read_progress(self) -> dict[str, Any]:
        return self.progress.read_status()


class HomeSource:
    """An index in a database, which other servers may use too."""

    lacks_commands: tuple[str, ...] = ("classify",)
    max_searches = 40  # which wait for the database, not for a core

    def __init__(self, address: HomeAddress, nearest: Nearest | None = None) -> None:
        self.nearest = nearest
        self.address, self.name, self.lock = address, address.name, threading.Lock()
        self.place = hide_secrets(str(address))
        self.home = connect_home(address)
        self.asked_s, self.stamps, self.counts = -STAMP_S, ("", False), (0, 0)
        self.failure: UnreelError | None = None
        self.folder: Path | None = None

    def open(self) -> tuple[Index, FileRecords]:
        index = open_home(self.address, self.nearest)
        self.counts, self.folder = (len(index.rows), len(index.rows.paths)), index.folder
        return index, load_records(index.folder / FILES_PARQUET)

    def read_stamps(self) -> Hashable:
        return self._read_state()[0]

    def is_being_written(self) -> bool:
        try:
            return self._read_state()[1]
        except UnreelError:
            return False

    def read_progress(self) -> dict[str, Any]:
        rows, videos = self.counts
        return {"rows": rows, "videos": videos, "of_videos": videos, "indexing": self.is_being_written()}

    def _read_state(self) -> tuple[str, bool]:
        """The newest index of the database, and whether it is being filled. Raises UnreelError.

        Asked at most every STAMP_S, also when it does not answer: else each request would wait for it in turn.
        """
        with self.lock:
            if time.monotonic() - self.asked_s > STAMP_S:
                try:
                    records, filling = self.home.read_records(INDEX_RECORD), self.home.read_records(FILLING_RECORD)
                    self.stamps, self.failure = (records[-1].id if records else "", bool(filling)), None
                except UnreelError as error:
                    self.failure = error
                self.asked_s = time.monotonic()
                self._keep_files()
            if self.failure is not None:
                raise self.failure
            return self.stamps

    def _keep_files(self) -> None:
        """Mark the files in the cache as in use, so that no other command deletes them."""
        with contextlib.suppress(OSError):
            if self.folder is not None:
                os.utime(self.folder)


def find_source(index: str | Path, nearest: Nearest | None = None) -> IndexSource:
    """The place of an index, searched as `open_index` says. Raises InputError for an address that can't be used."""
    address = parse_address(index) if isinstance(index, str) else None
    return FolderSource(Path(index), nearest) if address is None else HomeSource(address, nearest)
