"""Whose rows these are: paths, seconds and labels of a store as numbers, and the filters that a search can have."""

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from unreel.errors import InputError, unknown
from unreel.types import Embeddings

OWN = ("keep", "clip", "video")


@dataclass(frozen=True)
class Rows:
    """Path and label of each row by number, (N,) each. Files with the same bytes have one `content_N`."""

    paths: list[str]
    labels: list[str]
    path_N: np.ndarray
    label_N: np.ndarray
    content_N: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    contents: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, embeddings: Embeddings, content_hashes: Sequence[str] | None = None) -> "Rows":
        """The rows of embeddings; without hashes every path is a content of its own. Raises InputError."""
        count = len(embeddings)
        hashes = embeddings.paths if content_hashes is None else content_hashes
        labels = embeddings.labels or [""] * count
        if {len(hashes), len(labels), len(embeddings.start_s), len(embeddings.end_s)} != {count}:
            raise InputError(f"{count} rows, but {len(hashes)} hashes and {len(labels)} labels; embed the videos again")
        return cls.named(embeddings.paths, labels, hashes, embeddings.start_s, embeddings.end_s)

    @classmethod
    def named(
        cls, paths: Sequence[str], labels: Sequence[str], hashes: Sequence[str], start_s: np.ndarray, end_s: np.ndarray
    ) -> "Rows":
        """Rows by their names: path, label and hash of the content of each."""
        (path_N, different), (label_N, names), (content_N, contents) = map(numbered, (paths, labels, hashes))
        return cls(different, names, path_N, label_N, content_N, start_s, end_s, contents)

    def __len__(self) -> int:
        return len(self.path_N)

    def path(self, row: int) -> str:
        return self.paths[self.path_N[row]]


def numbered(names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Number int64 (N,) of each name, and the different names in the order in which they come."""
    coded = pa.array(names, pa.string()).dictionary_encode()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary.to_pylist()


@dataclass(frozen=True)
class Filter:
    """What a hit has to be: one of these path patterns (`*`, `?`, `[...]`; `*` crosses folders), one of these labels,
    and at least partly within these seconds of its video. An empty list allows all."""

    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    from_s: float = 0.0
    to_s: float = math.inf

    def allowed(self, rows: Rows) -> np.ndarray:
        """Which rows may be found, bool (N,). Raises InputError for a label that no row has, and for no time at all."""
        if not self.from_s < self.to_s:
            raise InputError(f"a filter from {self.from_s:g} s to {self.to_s:g} s allows nothing; give a later end")
        allowed_N = (rows.end_s > self.from_s) & (rows.start_s < self.to_s)
        if self.paths:
            fits = [any(fnmatch.fnmatchcase(path, pattern) for pattern in self.paths) for path in rows.paths]
            allowed_N &= np.array(fits, bool)[rows.path_N]
        for label in self.labels:
            if label not in rows.labels:
                raise unknown("label", label, rows.labels)
        if self.labels:
            allowed_N &= np.isin(rows.label_N, [rows.labels.index(label) for label in self.labels])
        return allowed_N


@dataclass(frozen=True)
class Stretch:
    """Where an example comes from: a path, and seconds in it."""

    path: str
    start_s: float = 0.0
    end_s: float = math.inf


def not_own(rows: Rows, examples: Sequence[Stretch], own: str) -> np.ndarray:
    """Rows without those of the examples themselves, bool (N,).

    `own` is "keep" to leave all in, "clip" to leave out what overlaps the example (sliding clips do), "video" to leave
    out its whole video. Copies of the video (the same bytes under another path) are its video too.
    """
    if own not in OWN:
        raise unknown("treatment of the query's own video", own, OWN)
    kept_N = np.ones(len(rows), bool)
    for example in examples if own != "keep" else ():
        if example.path not in rows.paths:
            continue
        contents = np.unique(rows.content_N[rows.path_N == rows.paths.index(example.path)])
        own_N = np.logical_or.reduce([rows.content_N == content for content in contents])
        if own == "clip":
            own_N &= (rows.start_s < example.end_s) & (rows.end_s > example.start_s)
        kept_N &= ~own_N
    return kept_N
