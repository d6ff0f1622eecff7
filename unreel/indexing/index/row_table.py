"""The table of an index's rows: path, seconds, label and content of each, names stored as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from unreel.errors import InputError
from unreel.types import Embeddings, Moment

NameColumn: TypeAlias = Sequence[str] | pa.ChunkedArray


@dataclass(frozen=True)
class RowTable:
    """Of each row (N,): the numbers of its path, label and content, and its seconds.

    Files with the same bytes have one content, whose hash is in `content_hashes`.
    """

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
        """The rows of embeddings; without hashes each path is a content of its own. Raises InputError."""
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
        """The rows of columns (N,): path, label, content hash, seconds."""
        (path_N, path_names), (label_N, label_names), (content_N, hash_names) = map(
            encode_names, (paths, labels, hashes)
        )
        return cls(path_names, label_names, path_N, label_N, content_N, start_s, end_s, hash_names)

    def __len__(self) -> int:
        return len(self.path_N)

    def get_path(self, row: int) -> str:
        return self.paths[self.path_N[row]]

    def get_label(self, row: int) -> str:
        return self.labels[self.label_N[row]]

    def get_moment(self, row: int) -> Moment:
        return Moment(self.get_path(row), float(self.start_s[row]), float(self.end_s[row]))

    def find_rows_of_content(self, content: int) -> np.ndarray:
        """The rows of a content, ascending."""
        return self._rows_by_content.get_group(content)

    def find_rows_of_path(self, path: int) -> np.ndarray:
        """The rows of a path, ascending."""
        return self._rows_by_path.get_group(path)

    @cached_property
    def _rows_by_content(self) -> "_GroupedRows":
        return _GroupedRows.from_numbers(self.content_N, len(self.content_hashes))

    @cached_property
    def _rows_by_path(self) -> "_GroupedRows":
        if np.array_equal(self.path_N, self.content_N):  # no file twice
            return self._rows_by_content
        return _GroupedRows.from_numbers(self.path_N, len(self.paths))

    @cached_property
    def number_by_content(self) -> dict[str, int]:
        """Number of each content hash, as in `content_N`."""
        return {content_hash: number for number, content_hash in enumerate(self.content_hashes)}

    @cached_property
    def number_by_path(self) -> dict[str, int]:
        """Number of each path, as in `path_N`."""
        return {path: number for number, path in enumerate(self.paths)}


class _GroupedRows(NamedTuple):
    """Rows in the order of their numbers, `order_N`, those of number n from `first_G[n]` to `first_G[n + 1]`."""

    order_N: np.ndarray
    first_G: np.ndarray

    @classmethod
    def from_numbers(cls, number_N: np.ndarray, num_groups: int) -> "_GroupedRows":
        order_N = np.argsort(number_N, kind="stable").astype(np.int32)
        return cls(order_N, np.concatenate([[0], np.cumsum(np.bincount(number_N, minlength=num_groups))]))

    def get_group(self, number: int) -> np.ndarray:
        return self.order_N[self.first_G[number] : self.first_G[number + 1]]


def format_moment(moment: Moment) -> tuple[str, str, str]:
    """Path, start and end seconds as tables have them."""
    return moment.path, f"{moment.start_s:.3f}", f"{moment.end_s:.3f}"


def encode_names(names: NameColumn) -> tuple[np.ndarray, list[str]]:
    """Number int64 (N,) of each name, and the distinct names in the order of their first use."""
    column = names if isinstance(names, pa.ChunkedArray) else pa.chunked_array([pa.array(names, pa.string())])
    coded = column.dictionary_encode().combine_chunks()
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), coded.dictionary.to_pylist()
