"""Embed contents and write their rows part by part, so that memory stays constant."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unreel.embedding import ClipWorkers
from unreel.errors import NonFiniteError
from unreel.indexing.store.clip_sampling import ClipSampling
from unreel.indexing.store.embeddings_file import concatenate, write_embeddings
from unreel.indexing.store.file_names import PARTS_FOLDER
from unreel.indexing.store.kept_chunks import KeptChunks
from unreel.indexing.store.parts import Content
from unreel.indexing.store.skipped_videos import record_skipped
from unreel.models.encoder.encoder import Encoder
from unreel.types import Embeddings, FileFailure, Instance, ProgressCallback

MAX_PART_VIDEOS, MAX_PART_BYTES, MAX_PART_S = 256, 64 * 2**20, 120.0  # whichever comes first


@dataclass
class PartWriter:
    """Collects rows and writes them as parts. Each process has its own `stem`, so that no two write the same file."""

    folder: Path
    stem: str
    metadata: dict[str, Any]
    num_parts: int = 0
    started_s: float = field(default_factory=time.monotonic)
    num_videos: int = 0
    num_bytes: int = 0
    buffer: list[Embeddings] = field(default_factory=list)
    chunks: KeptChunks | None = None

    def add(self, content: Content, vectors_KD: np.ndarray, spans_K2: np.ndarray) -> None:
        """Add the rows of a content, once for each of its files; writes the part when it is full."""
        k, (start_s, end_s) = len(vectors_KD), spans_K2.T
        for path, label in content.files:
            hashes = [content.content_hash] * k
            self.buffer.append(Embeddings(vectors_KD, [path] * k, start_s, end_s, [label] * k, hashes))
            self.num_bytes += vectors_KD.nbytes
        self.num_videos += 1
        is_old = time.monotonic() - self.started_s >= MAX_PART_S
        if self.num_videos >= MAX_PART_VIDEOS or self.num_bytes >= MAX_PART_BYTES or is_old:
            self.flush()

    def flush(self) -> None:
        """Write the collected rows. Raises DiskError."""
        if self.buffer:
            path = self.folder / PARTS_FOLDER / f"{self.stem}-{self.num_parts:05d}.parquet"
            write_embeddings(concatenate(self.buffer), path, self.metadata)
            self.num_parts += 1
            if self.chunks is not None:
                self.chunks.forget(rows.content_hashes[0] for rows in self.buffer)
        self.buffer, self.num_videos, self.num_bytes, self.started_s = [], 0, 0, time.monotonic()


def embed_contents(
    writer: PartWriter,
    contents: list[Content],
    encoder: Encoder,
    clip_sampling: ClipSampling,
    workers: ClipWorkers,
    on_progress: ProgressCallback,
) -> None:
    """Embed contents, and record those that can't be embedded. Raises NonFiniteError, DiskError."""
    hash_by_path = {content.files[0][0]: content.content_hash for content in contents}
    videos = [Instance(path, n, 0.0, float("inf")) for n, path in enumerate(hash_by_path)]

    def record_failure(failure: FileFailure) -> None:
        record_skipped(writer.folder, writer.stem, hash_by_path[failure.path], failure)

    writer.chunks = KeptChunks(
        writer.folder, writer.stem, writer.metadata, [content.content_hash for content in contents]
    )
    for index, vectors_KD, spans_K2 in clip_sampling.embed_videos(
        encoder, videos, workers, record_failure, on_progress, writer.chunks
    ):
        if not np.isfinite(vectors_KD).all():
            raise NonFiniteError(f"{videos[index].path}: its vectors are not finite; use another checkpoint")
        writer.add(contents[index], vectors_KD, spans_K2)
    writer.flush()
    on_progress(len(videos), len(videos))
