"""What a server holds: the index as it was opened last, what shows its videos, and what its queries need."""

import contextlib
import hashlib
import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.errors import InputError, UnreelError
from unreel.search.index import NEAREST, VECTORS, Index, open_index
from unreel.search.store import FILES, part_files
from unreel.serve.indexed import IndexedFiles
from unreel.serve.maps import Maps
from unreel.serve.previews import Previews, cache_folder
from unreel.serve.progress import Progress, is_written
from unreel.serve.querying import QueryVectors
from unreel.serve.uploads import Limits, Uploads
from unreel.video.known_files import load_files

log = logging.getLogger(__name__)


class Stale(InputError):
    """A page that was loaded before the index was read again."""


class NotReady(InputError):
    """No index is open; says why."""


@dataclass(frozen=True)
class ServeOptions:
    """How an index is served."""

    upload: Limits = field(default_factory=Limits)
    cache_bytes: int = 2 * 10**9
    cache: Path = field(default_factory=cache_folder)
    allow_import: bool = False


Stamp = frozenset[tuple[str, int, int]]


@dataclass(frozen=True)
class Opened:
    """An index that was read; `id` is another one when its rows are."""

    id: str
    index: Index
    files: IndexedFiles
    maps: Maps
    names: list[str]
    """The videos' paths without the folder that all share."""
    stamp: Stamp


def opened(folder: Path) -> Opened:
    """Raises InputError for what is no index, half of one, or of another version."""
    stamp = stamp_of(folder)  # before it is read: what is written meanwhile is news
    index = open_index(folder)
    files = IndexedFiles(index.rows.paths, load_files(folder / FILES))
    known_by = f"{index.encoder_hash} {index.nearest.description.built_of} {index.rows.paths} {index.rows.labels}"
    id_ = hashlib.blake2b(known_by.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return Opened(id_, index, files, Maps(index), short_names(index.rows.paths), stamp)


def stamp_of(folder: Path) -> Stamp:
    """Name, time of change and size of what changes with the rows of an index, be it by a move alone."""
    found = set()
    for path in (*part_files(folder), folder / VECTORS, folder / NEAREST):
        with contextlib.suppress(OSError):
            now = path.stat()
            found.add((path.name, now.st_mtime_ns, now.st_size))
    return frozenset(found)


def made_by(opened: Opened) -> tuple[Any, ...]:
    """What a query's vector depends on."""
    return opened.index.encoder_hash, opened.index.about["clips"]


def short_names(paths: list[str]) -> list[str]:
    """Paths beneath the folder that all have in common."""
    folder = os.path.dirname(paths[0]) if len(paths) == 1 else os.path.commonpath([os.path.dirname(p) for p in paths])
    return [os.path.relpath(path, folder) for path in paths]


class Served:
    """One index, one set of caches; any number of threads ask."""

    def __init__(self, folder: str | Path, options: ServeOptions | None = None) -> None:
        """Raises InputError for a folder that is no index, unless it is one that is being made just now."""
        self.folder, self.options = Path(folder), options or ServeOptions()
        self.lock, self.progress = threading.Lock(), Progress(self.folder)
        self.state: Opened | None = None
        self.vectors: QueryVectors | None = None
        self.problem, self.closed = "", False
        try:
            self.reload()
        except InputError:
            if not is_written(self.folder):
                raise
        self.previews = Previews(self.options.cache, self.options.cache_bytes)
        self.uploads = Uploads(self.options.upload)

    def reload(self) -> Opened:
        """Open the index as it is now; what was open stays when that fails. Raises InputError."""
        try:
            state = opened(self.folder)
        except UnreelError as error:
            self.problem = str(error)
            raise
        with self.lock:
            before, self.state, self.problem = self.state, state, ""
            if before is not None and self.vectors is not None:
                if made_by(before) == made_by(state):
                    self.vectors.forget()
                else:
                    self.vectors.close()
                    self.vectors = None
        return state

    def now(self, id_: str | None = None) -> Opened:
        """The open index, which must be the one that a page knows. Raises NotReady, Stale."""
        if self.state is None:
            raise NotReady(self.problem)
        if id_ is not None and id_ != self.state.id:
            raise Stale("the index was read again since this page was loaded; load the page again")
        return self.state

    def queries(self) -> QueryVectors:
        """What embeds queries, made once."""
        with self.lock:
            if self.closed:
                raise InputError("the server is ending")
            if self.vectors is None:
                about = self.now().index.about
                self.vectors = QueryVectors(self.folder, about, self.options.allow_import)
            return self.vectors

    def warm(self) -> None:
        """Have the encoder loaded and the map made before somebody waits for them; says what can't be."""
        if self.state is None:
            return
        try:
            self.state.maps.get("pca")
            self.queries().warm()
        except UnreelError as error:
            if not self.closed:
                log.warning("%s", error)

    def status(self) -> dict[str, Any]:
        """For a page: what is served, what is in the folder by now, and what is wrong."""
        found, state = self.progress.now(), self.state
        served = None if state is None else {"id": state.id, "rows": len(state.index.rows), "videos": len(state.names)}
        more = not found["indexing"] and (state is None or state.stamp != stamp_of(self.folder))
        return found | {"served": served, "problem": self.problem, "reload": more}

    def close(self) -> None:
        self.closed = True
        self.previews.close()
        self.uploads.close()
        with self.lock:
            if self.vectors is not None:
                self.vectors.close()
