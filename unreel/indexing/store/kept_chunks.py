"""Chunks of long videos that are embedded, kept on disk until their video stands in a part.

    STORE/chunks/*.parquet    as a part, with `NUMBER of CHUNKS` as label; written once a minute, deleted at the end

A part holds whole videos. Without this a kill would lose all chunks of a film, or the first chunks of many.
"""

import contextlib
import itertools
import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unreel.errors import InputError
from unreel.indexing.store.embeddings_file import concatenate, read_embeddings, read_metadata, write_embeddings
from unreel.indexing.store.file_names import CHUNKS_FOLDER
from unreel.types import Embeddings

KEEP_INTERVAL_S = 60.0  # seconds of chunks that a kill may lose


class Chunk(NamedTuple):
    """Chunk `number` of a video that has `num_chunks`: unit vectors (k, D), start and end seconds (k, 2)."""

    number: int
    num_chunks: int
    vectors_kD: np.ndarray
    spans_k2: np.ndarray


@dataclass
class KeptChunks:
    """The chunks of a store's videos whose contents have these hashes. `stem` is the process's own, as for parts."""

    folder: Path
    stem: str
    metadata: dict[str, Any]
    hashes: list[str]
    num_files: int = 0
    started_s: float = field(default_factory=time.monotonic)
    buffer: list[Embeddings] = field(default_factory=list)
    hashes_by_file: dict[Path, set[str]] = field(default_factory=dict)
    chunks_by_hash: dict[str, dict[int, Chunk]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what killed processes kept; a file that is damaged or of another encoder counts as none."""
        metadata = json.loads(json.dumps(self.metadata))
        for path in sorted((self.folder / CHUNKS_FOLDER).glob("*.parquet")):
            with contextlib.suppress(InputError, ValueError):
                if read_metadata(path) == metadata:
                    self._take(read_embeddings(path))

    def _take(self, rows: Embeddings) -> None:
        wanted, first = set(self.hashes), 0
        for (hash_, label), group in itertools.groupby(zip(rows.content_hashes, rows.labels, strict=True)):
            inside = slice(first, first := first + sum(1 for _ in group))
            if hash_ in wanted:
                number, num_chunks = map(int, label.split(" of "))
                spans_k2 = np.stack([rows.start_s[inside], rows.end_s[inside]], axis=1)
                chunk = Chunk(number, num_chunks, rows.vectors[inside], spans_k2)
                self.chunks_by_hash.setdefault(hash_, {})[number] = chunk

    def load(self, video: int) -> dict[int, Chunk]:
        """The chunks of a video that were kept, by number."""
        return self.chunks_by_hash.pop(self.hashes[video], {})

    def add(self, video: int, path: str, chunk: Chunk) -> None:
        """Keep a chunk of a video that is not whole yet; written with those of a minute. Raises DiskError."""
        k, (start_s, end_s) = len(chunk.vectors_kD), chunk.spans_k2.T
        label = f"{chunk.number} of {chunk.num_chunks}"
        hashes = [self.hashes[video]] * k
        self.buffer.append(Embeddings(chunk.vectors_kD, [path] * k, start_s, end_s, [label] * k, hashes))
        if time.monotonic() - self.started_s >= KEEP_INTERVAL_S:
            self._flush()

    def _flush(self) -> None:
        path = self.folder / CHUNKS_FOLDER / f"{self.stem}-{self.num_files:05d}.parquet"
        write_embeddings(concatenate(self.buffer), path, self.metadata)
        self.hashes_by_file[path] = {rows.content_hashes[0] for rows in self.buffer}
        self.num_files += 1
        self.buffer, self.started_s = [], time.monotonic()

    def forget(self, written: Iterable[str]) -> None:
        """Drop the chunks of contents that stand in parts now, and the files that have no others."""
        gone = set(written)
        self.buffer = [rows for rows in self.buffer if rows.content_hashes[0] not in gone]
        for path, hashes in list(self.hashes_by_file.items()):
            hashes -= gone
            if not hashes:
                path.unlink(missing_ok=True)
                del self.hashes_by_file[path]


def remove_kept_chunks(folder: Path) -> None:
    """Delete the chunks of all processes, once an update has ended. Only for who holds the store's lock."""
    shutil.rmtree(folder / CHUNKS_FOLDER, ignore_errors=True)
