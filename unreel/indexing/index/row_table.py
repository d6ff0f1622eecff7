"""Whose rows these are: paths, seconds and labels of a store as numbers, and the filters that a search can have."""

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from unreel.errors import InputError, unknown_name_error
from unreel.types import Embeddings

OWN_VIDEO_MODES = ("keep", "clip", "video")
NameColumn: TypeAlias = Sequence[str] | pa.ChunkedArray


@dataclass(frozen=True)
class RowTable:
    """Path and label of each row by number, (N,) each. Files with the same bytes have one `content_N`, whose hash is
    in `contents`."""

    paths: list[str]
    labels: list[str]
    path_N: np.ndarray
    label_N: np.ndarray
    content_N: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    content_hashes: list[str] = field(default_factory=list)

    @classmethod
    def from_embeddings(cls, embeddings: Embeddings, content_hashes: Sequence[str] | None = None) -> "RowTable":
        """The rows of embeddings; without hashes every path is a content of its own. Raises InputError."""
        count = len(embeddings)
        hashes = embeddings.paths if content_hashes is None else content_hashes
        labels = embeddings.labels or [""] * count
        if {len(hashes), len(labels), len(embeddings.start_s), len(embeddings.end_s)} != {count}:
            raise InputError(f"{count} rows, but {len(hashes)} hashes and {len(labels)} labels; embed the videos again")
        return cls.from_columns(embeddings.paths, labels, hashes, embeddings.start_s, embeddings.end_s)

    @classmethod
    def from_columns(
        cls, paths: NameColumn, labels: NameColumn, hashes: NameColumn, start_s: np.ndarray, end_s: np.ndarray
    ) -> "RowTable":
        """Rows by their names: path, label and hash of the content of each."""
        (path_N, different), (label_N, names), (content_N, contents) = map(encode_names, (paths, labels, hashes))
        return cls(different, names, path_N, label_N, content_N, start_s, end_s, contents)

    def __len__(self) -> int:
        return len(self.path_N)

    def get_path(self, row: int) -> str:
        return self.paths[self.path_N[row]]

    @cached_property
    def number_by_path(self) -> dict[str, int]:
        """Number of each path, as `path_N` has it."""
        return {path: number for number, path in enumerate(self.paths)}


def encode_names(names: NameColumn) -> tuple[np.ndarray, list[str]]:
    """Number int64 (N,) of each name, and the different names in the order in which they come."""
    column = names if isinstance(names, pa.ChunkedArray) else pa.chunked_array([pa.array(names, pa.string())])
    coded = column.dictionary_encode().combine_chunks()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary.to_pylist()


@dataclass(frozen=True)
class RowFilter:
    """What a hit has to be: one of these path patterns (`*`, `?`, `[...]`; `*` crosses folders), one of these labels,
    and at least partly within these seconds of its video. An empty list allows all."""

    path_patterns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    from_s: float = 0.0
    to_s: float = math.inf

    def match_rows(self, rows: RowTable) -> np.ndarray:
        """Which rows may be found, bool (N,). Raises InputError for a label that no row has, and for no time at all."""
        if not self.from_s < self.to_s:
            raise InputError(f"a filter from {self.from_s:g} s to {self.to_s:g} s allows nothing; give a later end")
        allowed_N = np.ones(len(rows), bool)
        if (self.from_s, self.to_s) != (0, math.inf):
            allowed_N = (rows.end_s > self.from_s) & (rows.start_s < self.to_s)
        if self.path_patterns:
            fits = [any(fnmatch.fnmatchcase(path, pattern) for pattern in self.path_patterns) for path in rows.paths]
            allowed_N &= np.array(fits, bool)[rows.path_N]
        for label in self.labels:
            if label not in rows.labels:
                raise unknown_name_error("label", label, rows.labels)
        if self.labels:
            allowed_N &= np.isin(rows.label_N, [rows.labels.index(label) for label in self.labels])
        return allowed_N


@dataclass(frozen=True)
class Moment:
    """Where an example comes from: a path, and seconds in it; and the hash of the file's content, where it is known."""

    path: str
    start_s: float = 0.0
    end_s: float = math.inf
    content_hash: str = ""


def exclude_own_rows(rows: RowTable, examples: Sequence[Moment], own_video_mode: str) -> np.ndarray:
    """Rows without those of the examples themselves, bool (N,).

    `own` is "keep" to leave all in, "clip" to leave out what overlaps the example (sliding clips do), "video" to leave
    out its whole video. Copies of the video (the same bytes under another path) are its video too.
    """
    if own_video_mode not in OWN_VIDEO_MODES:
        raise unknown_name_error("treatment of the query's own video", own_video_mode, OWN_VIDEO_MODES)
    kept_N = np.ones(len(rows), bool)
    of_file = dict[tuple[str, str], list[int]]()
    shown = dict[int, list[Moment]]()
    for example in examples if own_video_mode != "keep" else ():  # a thousand marked rows are of few files
        file = example.path, example.content_hash
        if file not in of_file:
            of_file[file] = find_contents(rows, example)
        for content in of_file[file]:
            shown.setdefault(content, []).append(example)
    for content, of_content in shown.items():
        of_it = np.flatnonzero(rows.content_N == content)
        start_s, end_s = rows.start_s[of_it], rows.end_s[of_it]
        if own_video_mode == "clip":
            of_it = of_it[np.any([(start_s < e.end_s) & (end_s > e.start_s) for e in of_content], axis=0)]
        kept_N[of_it] = False
    return kept_N


def find_contents(rows: RowTable, example: Moment) -> list[int]:
    """Numbers of the contents that an example's file has in the index, under this path or another."""
    found = [rows.content_hashes.index(example.content_hash)] if example.content_hash in rows.content_hashes else []
    if example.path in rows.number_by_path:
        found += np.unique(rows.content_N[rows.path_N == rows.number_by_path[example.path]]).tolist()
    return found
