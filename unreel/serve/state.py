"""What a server holds: the index as it was opened last, what shows its videos, and what its queries need."""

import contextlib
import hashlib
import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.corpus.file_tracker import load_records
from unreel.errors import InputError, UnreelError
from unreel.indexing.index.clip_index import Index, open_index
from unreel.indexing.store.embeddings_file import list_parts
from unreel.indexing.store.file_names import ANN_INDEX_FILE, FILES_PARQUET, VECTORS_NPY
from unreel.io.file_lock import is_locked
from unreel.serve.index_progress import IndexProgress
from unreel.serve.media.indexed_files import IndexedFiles
from unreel.serve.media.preview_cache import PreviewCache, get_cache_folder
from unreel.serve.media.uploads import UploadLimits, UploadStore
from unreel.serve.projections import ProjectionCache
from unreel.serve.query_embedder import QueryEmbedder

log = logging.getLogger(__name__)


class StaleIndexError(InputError):
    """A page that was loaded before the index was read again."""


class IndexNotReadyError(InputError):
    """No index is open; says why."""


@dataclass(frozen=True)
class ServeOptions:
    """How an index is served."""

    upload_limits: UploadLimits = field(default_factory=UploadLimits)
    cache_bytes: int = 2 * 10**9
    cache_folder: Path = field(default_factory=get_cache_folder)
    allow_import: bool = False


FileStamps = frozenset[tuple[str, int, int]]


@dataclass(frozen=True)
class IndexSnapshot:
    """An index that was read; `id` is another one when its rows are."""

    id: str
    index: Index
    files: IndexedFiles
    projections: ProjectionCache
    video_names: list[str]
    """The videos' paths without the folder that all share."""
    file_stamps: FileStamps


def load_snapshot(folder: Path) -> IndexSnapshot:
    """Raises InputError for what is no index, half of one, or of another version."""
    stamp = read_file_stamps(folder)  # before it is read: what is written meanwhile is news
    index = open_index(folder)
    files = IndexedFiles(index.rows.paths, load_records(folder / FILES_PARQUET))
    known_by = f"{index.encoder_hash} {index.ann_index.description.built_of} {index.rows.paths} {index.rows.labels}"
    id_ = hashlib.blake2b(known_by.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return IndexSnapshot(id_, index, files, ProjectionCache(index), shorten_paths(index.rows.paths), stamp)


def read_file_stamps(folder: Path) -> FileStamps:
    """Name, time of change and size of what changes with the rows of an index, be it by a move alone."""
    found = set()
    for path in (*list_parts(folder), folder / VECTORS_NPY, folder / ANN_INDEX_FILE):
        with contextlib.suppress(OSError):
            now = path.stat()
            found.add((path.name, now.st_mtime_ns, now.st_size))
    return frozenset(found)


def get_embedding_key(snapshot: IndexSnapshot) -> tuple[Any, ...]:
    """What a query's vector depends on."""
    return snapshot.index.encoder_hash, snapshot.index.metadata["clips"]


def shorten_paths(paths: list[str]) -> list[str]:
    """Paths beneath the folder that all have in common."""
    folder = os.path.dirname(paths[0]) if len(paths) == 1 else os.path.commonpath([os.path.dirname(p) for p in paths])
    return [os.path.relpath(path, folder) for path in paths]


class ServerState:
    """One index, one set of caches; any number of threads ask."""

    def __init__(self, folder: str | Path, options: ServeOptions | None = None) -> None:
        """Raises InputError for a folder that is no index, unless it is one that is being made just now."""
        self.folder, self.options = Path(folder), options or ServeOptions()
        self.lock, self.progress = threading.Lock(), IndexProgress(self.folder)
        self.snapshot: IndexSnapshot | None = None
        self.query_embedder: QueryEmbedder | None = None
        self.problem, self.closed = "", False
        try:
            self.reload()
        except InputError:
            if not is_locked(self.folder):
                raise
        self.previews = PreviewCache(self.options.cache_folder, self.options.cache_bytes)
        self.uploads = UploadStore(self.options.upload_limits)

    def reload(self) -> IndexSnapshot:
        """Open the index as it is now; what was open stays when that fails. Raises InputError."""
        try:
            state = load_snapshot(self.folder)
        except UnreelError as error:
            self.problem = str(error)
            raise
        with self.lock:
            before, self.snapshot, self.problem = self.snapshot, state, ""
            if before is not None and self.query_embedder is not None:
                if get_embedding_key(before) == get_embedding_key(state):
                    self.query_embedder.clear_cache()
                else:
                    self.query_embedder.close()
                    self.query_embedder = None
        return state

    def get_snapshot(self, index_id: str | None = None) -> IndexSnapshot:
        """The open index, which must be the one that a page knows. Raises NotReady, Stale."""
        if self.snapshot is None:
            raise IndexNotReadyError(self.problem)
        if index_id is not None and index_id != self.snapshot.id:
            raise StaleIndexError("the index was read again since this page was loaded; load the page again")
        return self.snapshot

    def get_query_embedder(self) -> QueryEmbedder:
        """What embeds queries, made once."""
        with self.lock:
            if self.closed:
                raise InputError("the server is ending")
            if self.query_embedder is None:
                about = self.get_snapshot().index.metadata
                self.query_embedder = QueryEmbedder(self.folder, about, self.options.allow_import)
            return self.query_embedder

    def warm_up(self) -> None:
        """Have the encoder loaded and the map made before somebody waits for them; says what can't be."""
        if self.snapshot is None:
            return
        try:
            self.snapshot.projections.get("pca")
            self.get_query_embedder().load_encoder()
        except UnreelError as error:
            if not self.closed:
                log.warning("%s", error)

    def status(self) -> dict[str, Any]:
        """For a page: what is served, what is in the folder by now, and what is wrong."""
        found, state = self.progress.read_status(), self.snapshot
        served = (
            None if state is None else {"id": state.id, "rows": len(state.index.rows), "videos": len(state.video_names)}
        )
        more = not found["indexing"] and (state is None or state.file_stamps != read_file_stamps(self.folder))
        return found | {"served": served, "problem": self.problem, "reload": more}

    def close(self) -> None:
        self.closed = True
        self.previews.close()
        self.uploads.close()
        with self.lock:
            if self.query_embedder is not None:
                self.query_embedder.close()
