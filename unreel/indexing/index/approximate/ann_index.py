"""Nearest-neighbour index: exact search for few vectors, IVF with measured recall for many, on disk for very many."""

import dataclasses
import math
from pathlib import Path

import faiss
import numpy as np

from unreel.indexing.index.approximate.ann_index_file import IndexDescription, read_index, write_index
from unreel.indexing.index.approximate.disk_codes import (
    CANDIDATES_PER_HIT,
    find_candidates,
    rank_anew,
)
from unreel.indexing.index.approximate.ivf import NUM_THREADS, BuildOptions, build_ivf
from unreel.indexing.index.nearest_rows import require_query, to_mask
from unreel.indexing.index.vectors import hash_vectors, iterate_blocks, require_unit_norm, search_exact

CELL_GROWTH = 4  # times as many cells where those that were searched do not hold enough rows
MIN_BLAS_QUERIES = 20  # below, FAISS uses no BLAS, and one thread for each search is faster


class AnnIndex:
    """An index over unit vectors (N, D); scores are inner products, so cosines.

    Any number of threads may search at the same time.
    """

    def __init__(self, index: faiss.Index, description: IndexDescription, vectors_ND: np.ndarray | None = None) -> None:
        self.index, self.description, self.vectors_ND = index, description, vectors_ND

    def __len__(self) -> int:
        return self.description.rows

    @classmethod
    def build(
        cls,
        vectors_ND: np.ndarray,
        options: BuildOptions | None = None,
        fingerprint: str = "",
        parts: tuple[str, ...] = (),
    ) -> "AnnIndex":
        """Build an index of unit vectors float32 (N, D), which may be a memory map; reproducible for a seed.

        `load` requires the same `fingerprint`, by default `hash_vectors(vectors_ND)`; `parts` are the names of the
        files that the rows come from. Raises InputError.
        """
        options = options or BuildOptions()
        require_unit_norm(vectors_ND)
        is_small = len(vectors_ND) < options.flat_below
        index, description = _build_flat(vectors_ND) if is_small else build_ivf(vectors_ND, options)
        vectors_hash = hash_vectors(vectors_ND)
        return cls(
            index,
            dataclasses.replace(
                description, vectors_fingerprint=fingerprint or vectors_hash, vectors_hash=vectors_hash, parts=parts
            ),
            vectors_ND,
        )

    def use_vectors(self, vectors_ND: np.ndarray) -> None:
        """The rows (N, D), by which candidates are ranked anew where codes on disk choose them."""
        self.vectors_ND = vectors_ND

    def search(self, query_QD: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 (Q, K) and rows int64 (Q, K) of the k nearest, best first, of equal ones the first row.

        `allowed` is a mask bool (N,) or row numbers; K is less than k only when fewer rows are allowed. The smaller the
        allowed share, the more cells are searched. Raises InputError.
        """
        query_QD = require_query(query_QD, self.description.dim)
        mask_N = None if allowed is None else to_mask(allowed, len(self))
        count = len(self) if mask_N is None else int(np.count_nonzero(mask_N))
        k = min(k, count)
        if not k or not len(query_QD):
            return np.zeros((len(query_QD), k), np.float32), np.zeros((len(query_QD), k), np.int64)
        refused = len(self) - count
        if mask_N is None or refused > k:
            return self._search_until_full(query_QD, k, mask_N, math.ceil(self.description.nprobe * len(self) / count))
        # Few rows are excluded (e.g. a query's own): removing them afterwards is faster than a test for each row.
        score_QK, row_QK = self._search_until_full(query_QD, k + refused, None, self.description.nprobe)
        order_QK = np.argsort(~mask_N[row_QK], axis=1, kind="stable")[:, :k]
        return np.take_along_axis(score_QK, order_QK, axis=1), np.take_along_axis(row_QK, order_QK, axis=1)

    def _search_until_full(
        self, query_QD: np.ndarray, k: int, mask_N: np.ndarray | None, nprobe: int
    ) -> tuple[np.ndarray, np.ndarray]:
        score_QK, row_QK = self._search_cells(query_QD, k, mask_N, nprobe)
        while nprobe < self.description.nlist and (short_Q := (row_QK < 0).any(axis=1)).any():
            nprobe *= CELL_GROWTH  # the searched cells hold fewer than k rows
            score_QK[short_Q], row_QK[short_Q] = self._search_cells(query_QD[short_Q], k, mask_N, nprobe)
        order_QK = np.lexsort((row_QK, -score_QK), axis=1)
        return np.take_along_axis(score_QK, order_QK, axis=1), np.take_along_axis(row_QK, order_QK, axis=1)

    def _search_cells(
        self, query_QD: np.ndarray, k: int, mask_N: np.ndarray | None, nprobe: int
    ) -> tuple[np.ndarray, np.ndarray]:
        # Parameters belong to the call; setting them on the index would change other threads' searches.
        faiss.omp_set_num_threads(1 if len(query_QD) < MIN_BLAS_QUERIES else NUM_THREADS)
        if self.description.candidates:
            return self._search_candidates(query_QD, k, mask_N, nprobe)
        selector = None if mask_N is None else faiss.IDSelectorBitmap(np.packbits(mask_N, bitorder="little"))
        if self.description.kind == "flat":
            return self.index.search(query_QD, k, params=faiss.SearchParameters(sel=selector))
        probes = min(nprobe, self.description.nlist)
        return self.index.search(query_QD, k, params=faiss.SearchParametersIVF(sel=selector, nprobe=probes))

    def _search_candidates(
        self, query_QD: np.ndarray, k: int, mask_N: np.ndarray | None, nprobe: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.vectors_ND is None:
            raise ValueError("an index whose candidates are ranked anew needs its vectors: use_vectors")
        count = min(len(self), max(self.description.candidates, CANDIDATES_PER_HIT * k))
        row_QC = find_candidates(self.index, query_QD, count, min(nprobe, self.description.nlist), mask_N)
        return rank_anew(self.vectors_ND, query_QD, row_QC, k)

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all. Raises DiskError."""
        write_index(path, self.index, self.description)

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> "AnnIndex":
        """Read an index. Raises InputError unless it is whole, of this version and has this fingerprint."""
        return cls(*read_index(path, fingerprint))


class ExactRows:
    """The nearest of all rows of an index whose own search is approximate, with the face of `AnnIndex`."""

    def __init__(self, vectors_ND: np.ndarray, description: IndexDescription) -> None:
        self.vectors_ND = vectors_ND
        self.description = dataclasses.replace(description, kind="flat", nlist=1, nprobe=1, recall=1.0, num_queries=0)

    def __len__(self) -> int:
        return len(self.vectors_ND)

    def search(self, query_QD: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """`AnnIndex.search`, by comparison with every allowed row."""
        query_QD = require_query(query_QD, self.description.dim)
        mask_N = None if allowed is None else to_mask(allowed, len(self))
        row_QK, score_QK = search_exact(self.vectors_ND, query_QD, max(k, 0), mask_N)
        return score_QK, row_QK


def _build_flat(vectors_ND: np.ndarray) -> tuple[faiss.Index, IndexDescription]:
    index = faiss.IndexFlatIP(vectors_ND.shape[1])
    for _, block in iterate_blocks(vectors_ND):
        index.add(block)
    return index, IndexDescription(len(vectors_ND), vectors_ND.shape[1], "flat")
