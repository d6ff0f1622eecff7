"""What a process does for a store: its share of the missing contents, part by part, so that memory stays flat."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unreel.errors import NonFiniteError
from unreel.models.encoder import Encoder
from unreel.search.clip_choice import ClipChoice
from unreel.search.embeddings import PARTS, concatenated, write
from unreel.search.store import Content, note_left_out
from unreel.types import Embeddings, Instance

PART_VIDEOS, PART_BYTES, PART_S = 256, 64 * 2**20, 120.0  # a part is written as soon as it has one of these


@dataclass
class Part:
    """Rows that are not written yet. `stem` is the process's own, so that no two of them ever write one file."""

    folder: Path
    stem: str
    about: dict[str, Any]
    written: int = 0
    begun_s: float = field(default_factory=time.monotonic)
    videos: int = 0
    bytes: int = 0
    rows: list[Embeddings] = field(default_factory=list)

    def add(self, content: Content, vectors_KD: np.ndarray, spans_K2: np.ndarray) -> None:
        """The rows of a content, once for each of its files; writes the part when it is full."""
        for path, label in content.files:
            who = ([path] * len(vectors_KD), spans_K2[:, 0], spans_K2[:, 1], [label] * len(vectors_KD))
            self.rows.append(Embeddings(vectors_KD, *who, [content.content_hash] * len(vectors_KD)))
            self.bytes += vectors_KD.nbytes
        self.videos += 1
        long = time.monotonic() - self.begun_s >= PART_S
        if self.videos >= PART_VIDEOS or self.bytes >= PART_BYTES or long:
            self.flush()

    def flush(self) -> None:
        """Write what there is. Raises DiskError."""
        if self.rows:
            path = self.folder / PARTS / f"{self.stem}-{self.written:05d}.parquet"
            write(concatenated(self.rows), path, self.about)
            self.written += 1
        self.rows, self.videos, self.bytes, self.begun_s = [], 0, 0, time.monotonic()


def fill(
    part: Part,
    share: list[Content],
    encoder: Encoder,
    choice: ClipChoice,
    workers: int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Embed contents, and write down those that can't be. Raises NonFiniteError, DiskError."""
    hash_of = {content.files[0][0]: content.content_hash for content in share}
    videos = [Instance(path, n, 0.0, float("inf")) for n, path in enumerate(hash_of)]

    def left_out(path: str, reason: str) -> None:
        note_left_out(part.folder, part.stem, hash_of[path], reason)

    for index, vectors_KD, spans_K2 in choice.rows(encoder, videos, workers, left_out):
        if not np.isfinite(vectors_KD).all():
            raise NonFiniteError(f"{videos[index].path}: its vectors are not finite; use another checkpoint")
        part.add(share[index], vectors_KD, spans_K2)
        on_progress(index + 1, len(videos))
    part.flush()
    on_progress(len(videos), len(videos))
