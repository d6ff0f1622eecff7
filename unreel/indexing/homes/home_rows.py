"""The vectors of an index in a database as an array, their nearest neighbours as a search with filters, and a copy of
them for what looks at every row many times: clusters and outliers."""

import contextlib
import dataclasses
import math
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unreel.indexing.homes.content import SliderEnd
from unreel.indexing.homes.home import Home, RowQuestion
from unreel.indexing.homes.records import Approximation
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.ann_index_file import IndexDescription
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.nearest_rows import require_query, to_mask
from unreel.indexing.index.vectors import iterate_blocks, write_npy
from unreel.io.atomic_write import disk_errors

NUM_KEPT_READS = 8  # e.g. the typical rows, which every search compares with
MAX_KEPT_ROWS = 4096
SPARE_ROWS = 16  # fetched beyond those wanted, so that of equal scores the first rows are found
GROWTH_FACTOR = 4
LARGEST_SHARE = 0.25  # of the rows as candidates; beyond, comparing all is no slower


class HomeVectors:
    """Unit vectors float32 (N, D) in a database, with what is used of an array: shape, length, and reading by slices
    and by row numbers. A few small reads are kept."""

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, home: Home, num_rows: int, dim: int) -> None:
        self.home, self.shape, self.size = home, (num_rows, dim), num_rows * dim
        self.kept: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, slice):
            first, stop, step = key.indices(len(self))
            if step != 1:
                return self[np.arange(first, stop, step)]
            return self.home.read_block(first, stop) if stop > first else np.zeros((0, self.shape[1]), np.float32)
        rows = np.asarray(key)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        if rows.ndim == 0:
            single: np.ndarray = self[rows[None]][0]
            return single
        return self._read(np.where(rows < 0, rows + len(self), rows).astype(np.int64))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def project(self, weight_D: np.ndarray) -> np.ndarray:
        """The inner product of every row with a vector, float32 (N,), computed by the database."""
        question = RowQuestion(weight_D[None].astype(np.float32), len(self))
        ((score_N, row_N),) = self.home.find_nearest(question)
        if len(row_N) != len(self):
            raise self.home.fail(f"{len(row_N)} of {len(self)} rows answered", "write the index again")
        projected_N = np.empty(len(self), np.float32)
        projected_N[row_N] = score_N
        return projected_N

    def _read(self, row_n: np.ndarray) -> np.ndarray:
        if not len(row_n):
            return np.zeros((0, self.shape[1]), np.float32)
        key = row_n.tobytes()
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
                return self.kept[key]
        vectors_nD = self.home.read_vectors(row_n)
        if len(row_n) <= MAX_KEPT_ROWS:
            vectors_nD.setflags(write=False)  # it is handed out again
            with self.lock:
                self.kept[key] = vectors_nD
                while len(self.kept) > NUM_KEPT_READS:
                    self.kept.popitem(last=False)
        return vectors_nD


class HomeDescription(IndexDescription):
    """The description of an index in a database, by its kind."""

    def __str__(self) -> str:
        recall = f"{self.describe_recall()}, measured on {self.num_queries} of these rows"
        return f"{self.rows} rows of {self.dim} numbers, {self.kind}: {recall if self.is_approximate else 'exact'}"

    @property
    def is_approximate(self) -> bool:
        return self.num_queries > 0


class HomeSearch:
    """Nearest rows of queries in a database, with the face of `AnnIndex`: of all rows, or with an `approximation`, of
    those that the database's own index finds."""

    def __init__(
        self, home: Home, num_rows: int, dim: int, fingerprint: str, slider_ends: dict[str, SliderEnd]
    ) -> None:
        self.home, self.slider_ends = home, slider_ends
        self.approximation: Approximation | None = None
        self.description: IndexDescription = HomeDescription(
            num_rows, dim, home.address.kind, vectors_fingerprint=fingerprint
        )

    def approximate_by(self, approximation: Approximation) -> "HomeSearch":
        """The same, searching approximately; exactly where the database has no index for that."""
        fingerprint = self.description.vectors_fingerprint
        other = HomeSearch(self.home, len(self), self.description.dim, fingerprint, self.slider_ends)
        if approximation.vectors:
            other.approximation = approximation
            other.description = dataclasses.replace(
                self.description, recall=approximation.recall, num_queries=approximation.num_queries
            )
        return other

    def __len__(self) -> int:
        return self.description.rows

    def search(self, query_QD: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """`AnnIndex.search`: scores float32 (Q, K) and rows int64 (Q, K), best first. Raises InputError."""
        query_QD = require_query(query_QD, self.description.dim)
        mask_N = None if allowed is None else to_mask(allowed, len(self))
        count = len(self) if mask_N is None else int(np.count_nonzero(mask_N))
        k = min(k, count)
        if not k or not len(query_QD):
            return np.zeros((len(query_QD), k), np.float32), np.zeros((len(query_QD), k), np.int64)
        found = self._find_approximately(query_QD, k, mask_N, count)
        found = self._find_allowed(query_QD, k, mask_N, count) if found is None else found
        return np.stack([score_K for score_K, _ in found]), np.stack([row_K for _, row_K in found])

    def _find_approximately(
        self, query_QD: np.ndarray, k: int, mask_N: np.ndarray | None, count: int
    ) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """The k nearest allowed rows of each query among candidates, of which there are more, the fewer rows are
        allowed. None where all rows are to be compared: few are allowed, many wanted, or too few were found."""
        if self.approximation is None or count < BuildOptions.flat_below:
            return None
        ranges_R2, share, wanted = None, count / len(self), k + (len(self) - count)
        if mask_N is not None and len(self) - count > k:
            ranges_R2, wanted = to_ranges(mask_N), k
            if len(ranges_R2) > self.home.max_ranges:
                ranges_R2, wanted = None, math.ceil(k / share) + SPARE_ROWS
        candidates = math.ceil(max(self.approximation.candidates, wanted) / share)
        if candidates > len(self) * LARGEST_SHARE:
            return None
        found = self._ask(query_QD, wanted, ranges_R2, candidates)
        kept = [_keep_allowed(score_K, row_K, k, mask_N) for score_K, row_K in found]
        return kept if min(len(row_K) for _, row_K in kept) == k else None

    def _find_allowed(
        self, query_QD: np.ndarray, k: int, mask_N: np.ndarray | None, count: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The k nearest allowed rows of each query. Where the allowed rows are too many ranges for a condition of the
        database, more rows are fetched, until enough of them are allowed."""
        ranges_R2, refused = None, len(self) - count
        wanted = k + SPARE_ROWS
        if mask_N is not None and refused > k:
            ranges_R2 = to_ranges(mask_N)
            if len(ranges_R2) > self.home.max_ranges:
                ranges_R2, wanted = None, math.ceil(wanted * len(self) / count)
        elif mask_N is not None:
            wanted += refused
        while True:
            found = self._ask(query_QD, min(wanted, len(self)), ranges_R2)
            kept = [_keep_allowed(score_K, row_K, k, mask_N) for score_K, row_K in found]
            if min(len(row_K) for _, row_K in kept) == k:
                return kept
            if wanted >= len(self):
                raise self.home.fail(f"fewer than {k} of {count} rows answered", "write the index again")
            wanted *= GROWTH_FACTOR

    def _ask(
        self, query_QD: np.ndarray, k: int, ranges_R2: np.ndarray | None, candidates: int = 0
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """By the vectors of an end of the slider, which are shorter, where all queries stand at one."""
        name = ""
        for end_name, end in self.slider_ends.items():
            if (cut_QD := end.cut_query(query_QD)) is not None:
                name, query_QD = end_name, cut_QD
                break
        has_index = self.approximation is not None and name in self.approximation.vectors
        return self.home.find_nearest(RowQuestion(query_QD, k, ranges_R2, name, candidates if has_index else 0))


def to_ranges(mask_N: np.ndarray) -> np.ndarray:
    """The runs of allowed rows, int64 (R, 2) from first to last + 1.

    >>> to_ranges(np.array([True, True, False, True])).tolist()
    [[0, 2], [3, 4]]
    """
    edges = np.flatnonzero(np.diff(np.r_[False, mask_N, False].astype(np.int8)))
    ranges_R2: np.ndarray = edges.reshape(-1, 2)
    return ranges_R2


def _keep_allowed(
    score_K: np.ndarray, row_K: np.ndarray, k: int, mask_N: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The k best allowed rows, of equal scores the first row first."""
    if mask_N is not None:
        allowed_K = mask_N[row_K]
        score_K, row_K = score_K[allowed_K], row_K[allowed_K]
    order_K = np.lexsort((row_K, -score_K))[:k]
    return score_K[order_K], row_K[order_K]


@contextlib.contextmanager
def local_vectors(index: Index) -> Iterator[Index]:
    """The index itself where its vectors are here; else with a copy of them in a temporary folder, and a
    nearest-neighbour index of it, as an index in a folder has. Raises DiskError.
    """
    if isinstance(index.vectors_ND, np.ndarray):
        yield index
        return
    with tempfile.TemporaryDirectory(prefix="unreel-rows-") as folder:
        path = Path(folder) / "vectors.npy"
        with disk_errors(path, "the rows of the database can't be copied", "free some space, or set TMPDIR"):
            write_npy(path, len(index.rows), (block for _, block in iterate_blocks(index.vectors_ND)))
        vectors_ND = np.load(path, mmap_mode="r", allow_pickle=False)
        fingerprint = index.ann_index.description.vectors_fingerprint
        ann_index = AnnIndex.build(vectors_ND, BuildOptions(parts=index.parts), fingerprint)
        yield dataclasses.replace(index, vectors_ND=vectors_ND, ann_index=ann_index)
