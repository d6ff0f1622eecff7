"""What a process does for a store: its share of the missing contents, part by part, so that memory stays flat."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unreel.errors import NonFiniteError
from unreel.indexing.store.clip_sampling import ClipSampling
from unreel.indexing.store.embedding_store import Content, record_skipped
from unreel.indexing.store.embeddings_file import PARTS_FOLDER, concatenate, write_embeddings
from unreel.models.encoder.encoder import Encoder
from unreel.types import Embeddings, FileFailure, Instance

MAX_PART_VIDEOS, MAX_PART_BYTES, MAX_PART_S = 256, 64 * 2**20, 120.0  # a part is written as soon as it has one of these


@dataclass
class PartWriter:
    """Rows that are not written yet. `stem` is the process's own, so that no two of them ever write one file."""

    folder: Path
    stem: str
    metadata: dict[str, Any]
    num_parts: int = 0
    started_s: float = field(default_factory=time.monotonic)
    num_videos: int = 0
    num_bytes: int = 0
    buffer: list[Embeddings] = field(default_factory=list)

    def add(self, content: Content, vectors_KD: np.ndarray, spans_K2: np.ndarray) -> None:
        """The rows of a content, once for each of its files; writes the part when it is full."""
        for path, label in content.files:
            who = ([path] * len(vectors_KD), spans_K2[:, 0], spans_K2[:, 1], [label] * len(vectors_KD))
            self.buffer.append(Embeddings(vectors_KD, *who, [content.content_hash] * len(vectors_KD)))
            self.num_bytes += vectors_KD.nbytes
        self.num_videos += 1
        long = time.monotonic() - self.started_s >= MAX_PART_S
        if self.num_videos >= MAX_PART_VIDEOS or self.num_bytes >= MAX_PART_BYTES or long:
            self.flush()

    def flush(self) -> None:
        """Write what there is. Raises DiskError."""
        if self.buffer:
            path = self.folder / PARTS_FOLDER / f"{self.stem}-{self.num_parts:05d}.parquet"
            write_embeddings(concatenate(self.buffer), path, self.metadata)
            self.num_parts += 1
        self.buffer, self.num_videos, self.num_bytes, self.started_s = [], 0, 0, time.monotonic()


def embed_contents(
    writer: PartWriter,
    contents: list[Content],
    encoder: Encoder,
    clip_sampling: ClipSampling,
    workers: int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Embed contents, and write down those that can't be. Raises NonFiniteError, DiskError."""
    hash_of = {content.files[0][0]: content.content_hash for content in contents}
    videos = [Instance(path, n, 0.0, float("inf")) for n, path in enumerate(hash_of)]

    def left_out(failure: FileFailure) -> None:
        record_skipped(writer.folder, writer.stem, hash_of[failure.path], failure)

    for index, vectors_KD, spans_K2 in clip_sampling.embed_videos(encoder, videos, workers, left_out):
        if not np.isfinite(vectors_KD).all():
            raise NonFiniteError(f"{videos[index].path}: its vectors are not finite; use another checkpoint")
        writer.add(contents[index], vectors_KD, spans_K2)
        on_progress(index + 1, len(videos))
    writer.flush()
    on_progress(len(videos), len(videos))
