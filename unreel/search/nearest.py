"""The nearest rows of many vectors: exact while that is fast, an inverted file above, measured on those very vectors.

Above `flat_below` rows: spherical k-means into about sqrt(N) cells, rows kept as 8-bit residuals (IVF-SQ8), and as many
cells looked at as recall@10 asks for; 16-bit residuals where 8 bits never reach it. Source: Sivic and Zisserman 2003
(inverted file); Johnson, Douze, Jégou 2017 (FAISS).
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from unreel.errors import InputError
from unreel.search.index_file import Description, read_index, write_index
from unreel.search.query import weigh

BLOCK = 65_536  # rows handled at a time, so that vectors may stay on disk
FEW_QUERIES = 20  # below, FAISS uses no BLAS, and readers side by side are faster with one thread each
THREADS = faiss.omp_get_max_threads()
CODES = {"IVF-SQ8": faiss.ScalarQuantizer.QT_8bit, "IVF-SQfp16": faiss.ScalarQuantizer.QT_fp16}


@dataclass(frozen=True)
class BuildOptions:
    """How an index is chosen. Of rows of several `views`, recall is measured at each end of the slider too."""

    flat_below: int = 20_000
    target_recall: float = 0.97
    views: int = 1
    num_queries: int = 256
    seed: int = 0


class Nearest:
    """An index over unit vectors (N, D); scores are inner products, so cosines.

    Searching changes nothing, so any number of threads may do it at once.
    """

    def __init__(self, index: faiss.Index, description: Description) -> None:
        self.index, self.description = index, description

    def __len__(self) -> int:
        return self.description.rows

    @classmethod
    def build(cls, vectors_ND: np.ndarray, options: BuildOptions | None = None, built_of: str = "") -> "Nearest":
        """An index over unit vectors float32 (N, D), which may be a memory map; equal for equal seeds and threads.

        `built_of` is what the index is known by later, by default `fingerprint(vectors)`. Raises InputError.
        """
        options = options or BuildOptions()
        require_unit(vectors_ND)
        made = _flat(vectors_ND) if len(vectors_ND) < options.flat_below else _inverted(vectors_ND, options)
        return cls(made[0], dataclasses.replace(made[1], built_of=built_of or fingerprint(vectors_ND)))

    def search(self, query_QD: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 (Q, K) and rows int64 (Q, K) of the k nearest, best first, of equal ones the first row.

        `allowed` is a mask bool (N,) or row numbers; K is less than k only where fewer rows are allowed. A filter that
        leaves a share of the rows makes more cells be looked at by as much. Raises InputError.
        """
        query_QD = self._checked(query_QD)
        mask_N = None if allowed is None else self._mask(allowed)
        count = len(self) if mask_N is None else int(mask_N.sum())
        k = min(k, count)
        if not k or not len(query_QD):
            return np.zeros((len(query_QD), k), np.float32), np.zeros((len(query_QD), k), np.int64)
        nprobe = math.ceil(self.description.nprobe * len(self) / count)
        score_QK, row_QK = self._ask(query_QD, k, mask_N, nprobe)
        short_Q = (row_QK < 0).any(axis=1)
        if short_Q.any():  # the cells looked at held fewer than k: look at all
            score_QK[short_Q], row_QK[short_Q] = self._ask(query_QD[short_Q], k, mask_N, self.description.nlist)
        order_QK = np.lexsort((row_QK, -score_QK), axis=1)
        return np.take_along_axis(score_QK, order_QK, axis=1), np.take_along_axis(row_QK, order_QK, axis=1)

    def _ask(
        self, query_QD: np.ndarray, k: int, mask_N: np.ndarray | None, nprobe: int
    ) -> tuple[np.ndarray, np.ndarray]:
        # What a search is told goes with the call, never into the index, which others are reading.
        faiss.omp_set_num_threads(1 if len(query_QD) < FEW_QUERIES else THREADS)
        selector = None if mask_N is None else faiss.IDSelectorBitmap(np.packbits(mask_N, bitorder="little"))
        if self.description.kind == "flat":
            return self.index.search(query_QD, k, params=faiss.SearchParameters(sel=selector))
        probes = min(nprobe, self.description.nlist)
        return self.index.search(query_QD, k, params=faiss.SearchParametersIVF(sel=selector, nprobe=probes))

    def _checked(self, query_QD: np.ndarray) -> np.ndarray:
        query_QD = np.ascontiguousarray(query_QD, dtype=np.float32)
        if query_QD.ndim != 2 or query_QD.shape[1] != self.description.dim:
            raise InputError(
                f"the query has shape {query_QD.shape}, the index wants (Q, {self.description.dim}); "
                "embed queries with the encoder that made the index"
            )
        if not np.isfinite(query_QD).all():
            raise InputError("the query has numbers that are not finite; embed it again")
        return query_QD

    def _mask(self, allowed: np.ndarray) -> np.ndarray:
        allowed = np.asarray(allowed)
        if allowed.dtype == bool and allowed.shape == (len(self),):
            return allowed
        wrong = allowed.dtype == bool or (allowed.size and (allowed.min() < 0 or allowed.max() >= len(self)))
        if wrong:
            raise InputError(
                f"the filter does not fit an index of {len(self)} rows; give a mask of them or row numbers"
            )
        mask_N = np.zeros(len(self), bool)
        mask_N[allowed.astype(np.int64)] = True
        return mask_N

    def save(self, path: Path) -> None:
        """One file, written aside and renamed. Raises DiskError."""
        write_index(path, self.index, self.description)

    @classmethod
    def load(cls, path: Path, built_of: str) -> "Nearest":
        """The index of the vectors known as `built_of`; InputError for another's, another version's or half of one."""
        return cls(*read_index(path, built_of))


def fingerprint(vectors_ND: np.ndarray) -> str:
    """BLAKE2 of shape and numbers, 128 bits in hex."""
    digest = hashlib.blake2b(str(vectors_ND.shape).encode(), digest_size=16)
    for _, block in blocks(vectors_ND):
        digest.update(block.data)
    return digest.hexdigest()


def blocks(vectors_ND: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row, and float32 (n, D), of some rows at a time."""
    for start in range(0, len(vectors_ND), BLOCK):
        yield start, np.ascontiguousarray(vectors_ND[start : start + BLOCK], dtype=np.float32)


def require_unit(vectors_ND: np.ndarray) -> None:
    """Raise InputError unless these are rows of length 1."""
    if vectors_ND.ndim != 2 or not vectors_ND.size:
        raise InputError(f"an index needs vectors (N, D), got {vectors_ND.shape}; embed some videos first")
    for start, block in blocks(vectors_ND):
        length_N = np.sqrt(np.einsum("nd,nd->n", block, block))
        wrong = np.flatnonzero(~(np.abs(length_N - 1) < 1e-3))
        if len(wrong):
            row = start + int(wrong[0])
            raise InputError(f"row {row} has length {length_N[wrong[0]]:.3g}, not 1; write the embeddings again")


def _flat(vectors_ND: np.ndarray) -> tuple[faiss.Index, Description]:
    index = faiss.IndexFlatIP(vectors_ND.shape[1])
    for _, block in blocks(vectors_ND):
        index.add(block)
    return index, Description(len(vectors_ND), vectors_ND.shape[1], "flat")


def _inverted(vectors_ND: np.ndarray, options: BuildOptions) -> tuple[faiss.Index, Description]:
    """The first kind of codes that reaches the recall, the finest where none does."""
    rng = np.random.default_rng(options.seed)
    nlist = 2 ** round(math.log2(math.sqrt(len(vectors_ND))))
    sample_MD = drawn(vectors_ND, 64 * nlist, rng)
    centre_LD = _cells(sample_MD, nlist, options.seed)
    queries = _Queries.draw(vectors_ND, options, rng)
    for kind in CODES:
        index = _filled(vectors_ND, sample_MD, centre_LD, kind)
        nprobe, recall = queries.cells_needed(index, nlist, options.target_recall)
        if recall >= options.target_recall:
            break
    rows, dim = vectors_ND.shape
    return index, Description(rows, dim, kind, nlist, nprobe, recall, len(queries.row_Q))


def drawn(vectors_ND: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Some rows without repetition, in their order."""
    rows = np.sort(rng.choice(len(vectors_ND), min(count, len(vectors_ND)), replace=False))
    return np.ascontiguousarray(vectors_ND[rows], dtype=np.float32)


def _cells(sample_MD: np.ndarray, nlist: int, seed: int) -> np.ndarray:
    faiss.omp_set_num_threads(THREADS)
    kmeans = faiss.Kmeans(sample_MD.shape[1], nlist, niter=10, seed=seed, spherical=True, min_points_per_centroid=1)
    kmeans.train(sample_MD)
    return kmeans.centroids


def _filled(vectors_ND: np.ndarray, sample_MD: np.ndarray, centre_LD: np.ndarray, kind: str) -> faiss.Index:
    nlist, dim = centre_LD.shape
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(centre_LD)
    index = faiss.IndexIVFScalarQuantizer(quantizer, dim, nlist, CODES[kind], faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    quantizer.this.disown()
    index.train(sample_MD)
    for _, block in blocks(vectors_ND):
        index.add(block)
    return index


@dataclass
class _Queries:
    """Rows of the vectors themselves asked for their neighbours, which exact search has found.

    `least_Q` is the score of the k-th nearest other row: what scores as much is right, so that ties are no mistakes.
    """

    vectors_ND: np.ndarray
    query_QD: np.ndarray
    row_Q: np.ndarray
    least_Q: np.ndarray
    k: int

    @classmethod
    def draw(cls, vectors_ND: np.ndarray, options: BuildOptions, rng: np.random.Generator) -> "_Queries":
        k = min(10, len(vectors_ND) - 1)
        row_Q = np.sort(rng.choice(len(vectors_ND), min(options.num_queries, len(vectors_ND)), replace=False))
        plain_QD = np.asarray(vectors_ND[row_Q], dtype=np.float32)
        weights = [np.full(options.views, 1 / options.views), *np.eye(options.views)][
            : 1 if options.views == 1 else None
        ]
        query_QD = np.concatenate([weigh(plain_QD, w) for w in weights]).astype(np.float32)
        row_Q = np.tile(row_Q, len(weights))
        best_QK = np.full((len(row_Q), k + 1), -np.inf, np.float32)
        for _, block in blocks(vectors_ND):
            score_QK, _ = faiss.knn(query_QD, block, min(k + 1, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            best_QK = -np.sort(-np.concatenate([best_QK, score_QK], axis=1), axis=1)[:, : k + 1]
        return cls(vectors_ND, query_QD, row_Q, best_QK[:, k], k)

    def recall(self, index: faiss.Index, nprobe: int) -> float:
        params = faiss.SearchParametersIVF(nprobe=nprobe)
        _, found_QK = index.search(self.query_QD, self.k + 1, params=params)
        rows_QKD = np.asarray(self.vectors_ND[np.maximum(found_QK, 0).ravel()], dtype=np.float32)
        rows_QKD = rows_QKD.reshape(*found_QK.shape, -1)
        score_QK = np.einsum("qkd,qd->qk", rows_QKD, self.query_QD)
        right_QK = (score_QK >= self.least_Q[:, None] - 1e-6) & (found_QK >= 0) & (found_QK != self.row_Q[:, None])
        return float(np.minimum(right_QK.sum(axis=1), self.k).mean() / self.k)

    def cells_needed(self, index: faiss.Index, nlist: int, target: float) -> tuple[int, float]:
        """The least of 1, 2, 3, 4, 6, 9, ... cells that reaches the target, else all; and the recall."""
        nprobe = 1
        while (recall := self.recall(index, nprobe)) < target and nprobe < nlist:
            nprobe = min(nlist, max(nprobe + 1, nprobe * 3 // 2))
        return nprobe, recall
