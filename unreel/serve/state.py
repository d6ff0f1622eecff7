"""The state of a server: the opened index, the caches of previews and maps, uploads and the query embedder."""

import hashlib
import logging
import os
import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.corpus.file_changes import describe_missing, find_missing
from unreel.errors import InputError, UnreelError
from unreel.evaluation.verdict.verdict_file import read_verdict
from unreel.indexing.concepts.concept_update import list_concepts
from unreel.indexing.homes.approximate import Nearest
from unreel.indexing.index.clip_index import Index
from unreel.io.text import format_count, preview_items
from unreel.serve.connections import SearchSlots
from unreel.serve.index_source import IndexSource, find_source
from unreel.serve.media.indexed_files import IndexedFiles
from unreel.serve.media.preview_cache import PreviewCache, get_preview_folder
from unreel.serve.media.uploads import UploadLimits, UploadStore
from unreel.serve.projections import ProjectionCache
from unreel.serve.query_embedder import QueryEmbedder

log = logging.getLogger(__name__)


class StaleIndexError(InputError):
    """The page was loaded before the index was opened again."""


class IndexNotReadyError(InputError):
    """No index is open yet; the text says why."""


@dataclass(frozen=True)
class ServeOptions:
    """Limits and cache of a server; `commands` are those of `unreel` that the page may offer to copy; `nearest` is how
    `open_index` searches."""

    upload_limits: UploadLimits = field(default_factory=UploadLimits)
    cache_bytes: int = 2 * 10**9
    cache_folder: Path = field(default_factory=get_preview_folder)
    allow_import: bool = False
    commands: tuple[str, ...] = ()
    nearest: Nearest | None = None


@dataclass(frozen=True)
class IndexSnapshot:
    """An opened index. Its `id` changes when its rows change."""

    id: str
    index: Index
    files: IndexedFiles
    projections: ProjectionCache
    video_folder: str
    """The folder that all videos share."""
    stamps: Hashable

    def name_video(self, number: int) -> str:
        """The path of a video in the folder that all share."""
        return os.path.relpath(self.index.rows.paths[number], self.video_folder)


def load_snapshot(source: IndexSource) -> IndexSnapshot:
    """Open an index. Raises InputError for one that is missing, incomplete or of another version."""
    stamps = source.read_stamps()  # before opening, so that later writes count as changes
    index, records = source.open()
    files = IndexedFiles(index.rows.paths, records)
    identity = (
        f"{index.encoder_hash} {index.ann_index.description.vectors_fingerprint} {index.rows.paths} {index.rows.labels}"
    )
    id_ = hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return IndexSnapshot(id_, index, files, ProjectionCache(index), find_common_folder(index.rows.paths), stamps)


def describe_verdict(folder: Path) -> dict[str, str] | None:
    """What the page shows of the verdict about the encoder of an index; None where there is none."""
    verdict = read_verdict(folder)
    if verdict is None:
        return None
    return {"level": verdict.level, "headline": verdict.headline, "explanation": verdict.explanation}


def get_embedding_key(snapshot: IndexSnapshot) -> tuple[Any, ...]:
    """What the vector of a query depends on, beside its file."""
    return snapshot.index.encoder_hash, snapshot.index.metadata["clips"]


def find_common_folder(paths: list[str]) -> str:
    """The folder that all paths share. The first and the last in the order of strings share no more than all do."""
    return os.path.commonpath([os.path.dirname(min(paths)), os.path.dirname(max(paths))])


class ServerState:
    """One index and its caches, used by any number of threads."""

    def __init__(self, index: str | Path, options: ServeOptions | None = None) -> None:
        """Raises InputError for a folder or database without an index, unless one is being written now."""
        self.options = options or ServeOptions()
        self.source = find_source(index, self.options.nearest)
        self.lock = threading.Lock()
        self.search_slots = SearchSlots(self.source.max_searches)
        self.snapshot: IndexSnapshot | None = None
        self.query_embedder: QueryEmbedder | None = None
        self.missing_videos: tuple[IndexSnapshot | None, str] = (None, "")
        self.problem, self.closed = "", False
        try:
            self.reload()
        except InputError:
            if not self.source.is_being_written():
                raise
        self.previews = PreviewCache(self.options.cache_folder, self.options.cache_bytes)
        self.uploads = UploadStore(self.options.upload_limits)

    def reload(self) -> IndexSnapshot:
        """Open the index again; on failure the old one stays open. Raises InputError."""
        try:
            snapshot = load_snapshot(self.source)
        except UnreelError as error:
            self.problem = str(error)
            raise
        with self.lock:
            old, self.snapshot, self.problem = self.snapshot, snapshot, ""
            if old is not None and self.query_embedder is not None:
                if get_embedding_key(old) == get_embedding_key(snapshot):
                    self.query_embedder.clear_cache()
                else:
                    self.query_embedder.close()
                    self.query_embedder = None
        return snapshot

    def get_snapshot(self, index_id: str | None = None) -> IndexSnapshot:
        """The open index, which must have the id that the page knows. Raises IndexNotReadyError, StaleIndexError."""
        if self.snapshot is None:
            raise IndexNotReadyError(self.problem)
        if index_id is not None and index_id != self.snapshot.id:
            raise StaleIndexError("the index has changed since this page was loaded; load the page again")
        return self.snapshot

    def get_query_embedder(self) -> QueryEmbedder:
        """The query embedder, made at its first use."""
        with self.lock:
            if self.closed:
                raise InputError("the server is ending")
            if self.query_embedder is None:
                index = self.get_snapshot().index
                self.query_embedder = QueryEmbedder(index.folder, index.metadata, self.options.allow_import)
            return self.query_embedder

    def warm_up(self) -> None:
        """Load the encoder and compute the map before they are needed; logs a failure."""
        if self.snapshot is None:
            return
        try:
            self.snapshot.projections.get("pca")
            self.get_query_embedder().load_encoder()
        except UnreelError as error:
            if not self.closed:
                log.warning("%s", error)

    def status(self) -> dict[str, Any]:
        """For the page: the served index, the state of the folder, and what is wrong."""
        progress, snapshot, problem = self.source.read_progress(), self.snapshot, self.problem
        served = None
        if snapshot is not None:
            served = {"id": snapshot.id, "rows": len(snapshot.index.rows), "videos": len(snapshot.index.rows.paths)}
        try:
            is_new = snapshot is None or snapshot.stamps != self.source.read_stamps()
        except UnreelError as error:  # a database that does not answer
            is_new, problem = False, str(error)
        can_reload = is_new and not progress["indexing"]
        missing = self.describe_missing_videos()
        return progress | {"served": served, "problem": problem, "reload": can_reload, "missing": missing}

    def describe_missing_videos(self) -> str:
        """What to say of videos of the open index that are gone; looked at once for each opening. "" for none."""
        snapshot = self.snapshot
        if snapshot is None:
            return ""
        if self.missing_videos[0] is not snapshot:
            paths = snapshot.index.rows.paths
            self.missing_videos = snapshot, describe_missing(len(find_missing(paths)), len(paths), "videos")
        return self.missing_videos[1]

    def describe_content(self) -> str:
        """What is served, e.g. `662 clips of 90 videos in /data/videos, 1 concept (jump)`; "" without an index."""
        if self.snapshot is None:
            return ""
        index = self.snapshot.index
        videos = f"{format_count(len(index.rows), 'clip')} of {format_count(len(index.rows.paths), 'video')}"
        concepts = list_concepts(index)
        kept = f", {format_count(len(concepts), 'concept')} ({preview_items(concepts)})" if concepts else ""
        return f"{videos} in {find_common_folder(index.rows.paths)}{kept}"

    def close(self) -> None:
        self.closed = True
        self.previews.close()
        self.uploads.close()
        with self.lock:
            if self.query_embedder is not None:
                self.query_embedder.close()
