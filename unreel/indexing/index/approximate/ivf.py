"""IVF: an inverted file index, whose codes and number of cells are chosen by measured recall.

Spherical k-means into about sqrt(N) cells; rows are stored as residuals of 8 bits a number, or 16 where 8 bits lose too
much recall. From so many rows on that their codes would fill the memory, rows have a bit a number and stay on disk
(disk_codes.py). Source: Sivic, Zisserman 2003 (inverted file); Johnson, Douze, Jégou 2017 (FAISS).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import faiss
import numpy as np

from unreel.indexing.index.approximate.ann_index_file import IndexDescription
from unreel.indexing.index.approximate.disk_codes import (
    CANDIDATES,
    find_candidates,
    make_coded_ivf,
    rank_anew,
)
from unreel.indexing.index.query_vector import keep_part
from unreel.indexing.index.vectors import iterate_blocks, sample_rows, search_exact
from unreel.models.encoder.row_parts import RowParts

QUANTIZER_TYPES = {"IVF-SQ8": faiss.ScalarQuantizer.QT_8bit, "IVF-SQfp16": faiss.ScalarQuantizer.QT_fp16}
NUM_THREADS = faiss.omp_get_max_threads()


@dataclass(frozen=True)
class BuildOptions:
    """How an index is built. With several views, recall is also measured at each end of the slider.

    `on_disk_from` rows of 512 numbers take 1 GB of memory in codes of 8 bits.
    """

    flat_below: int = 20_000
    on_disk_from: int = 2_000_000
    target_recall: float = 0.97
    parts: RowParts | None = None
    num_queries: int = 256
    seed: int = 0


def build_ivf(vectors_ND: np.ndarray, options: BuildOptions) -> tuple[faiss.Index, IndexDescription]:
    """Choose the coarsest codes that lose at most half of the allowed recall, then as many cells as needed."""
    rng = np.random.default_rng(options.seed)
    nlist = 2 ** round(math.log2(math.sqrt(len(vectors_ND))))
    sample_MD = sample_rows(vectors_ND, 64 * nlist, rng)
    centre_LD = _train_centroids(sample_MD, nlist, options.seed)
    queries = _RecallQueries.draw(vectors_ND, options, rng)
    if len(vectors_ND) >= options.on_disk_from:
        return _build_coded(vectors_ND, make_coded_ivf(sample_MD, centre_LD, options.seed), queries, options)
    for kind in QUANTIZER_TYPES:
        index = _make_empty_ivf(sample_MD, centre_LD, kind)
        if queries.measure_code_recall(index) >= (1 + options.target_recall) / 2:
            break
    _add_rows(index, vectors_ND)
    nprobe, recall = queries.choose_nprobe(partial(queries.search_cells, index), nlist, options.target_recall)
    return index, _describe(vectors_ND, kind, nlist, nprobe, recall, queries)


def _build_coded(
    vectors_ND: np.ndarray, index: faiss.IndexPreTransform, queries: "_RecallQueries", options: BuildOptions
) -> tuple[faiss.Index, IndexDescription]:
    """Add the rows, and choose cells and candidates."""
    _add_rows(index, vectors_ND)
    nlist = faiss.extract_index_ivf(index).nlist
    nprobe, candidates, recall = queries.choose_candidates(index, nlist, options.target_recall)
    description = _describe(vectors_ND, "IVF-RaBitQ", nlist, nprobe, recall, queries)
    return index, replace(description, candidates=candidates)


def _add_rows(index: faiss.Index, vectors_ND: np.ndarray) -> None:
    for _, block in iterate_blocks(vectors_ND):
        index.add(block)


def _describe(
    vectors_ND: np.ndarray, kind: str, nlist: int, nprobe: int, recall: float, queries: "_RecallQueries"
) -> IndexDescription:
    rows, dim = vectors_ND.shape
    return IndexDescription(rows, dim, kind, nlist, nprobe, recall, len(queries.row_Q))


def _train_centroids(sample_MD: np.ndarray, nlist: int, seed: int) -> np.ndarray:
    faiss.omp_set_num_threads(NUM_THREADS)
    kmeans = faiss.Kmeans(sample_MD.shape[1], nlist, niter=10, seed=seed, spherical=True, min_points_per_centroid=1)
    kmeans.train(sample_MD)
    return kmeans.centroids


def _make_empty_ivf(sample_MD: np.ndarray, centre_LD: np.ndarray, kind: str) -> faiss.Index:
    nlist, dim = centre_LD.shape
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(centre_LD)
    index = faiss.IndexIVFScalarQuantizer(quantizer, dim, nlist, QUANTIZER_TYPES[kind], faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    quantizer.this.disown()
    index.train(sample_MD)
    return index


@dataclass
class _RecallQueries:
    """Rows used as queries, with their exact neighbours, to measure recall.

    Queries repeat for each of `num_weights` weightings of the views. `neighbour_QM` are the nearest rows, including the
    row itself; `min_score_Q` is the score of the k-th nearest other row: rows that reach it are right, also in a tie.
    """

    vectors_ND: np.ndarray
    query_QD: np.ndarray
    row_Q: np.ndarray
    neighbour_QM: np.ndarray
    min_score_Q: np.ndarray
    k: int
    num_weights: int

    @classmethod
    def draw(cls, vectors_ND: np.ndarray, options: BuildOptions, rng: np.random.Generator) -> "_RecallQueries":
        k = min(10, len(vectors_ND) - 1)
        row_Q = np.sort(rng.choice(len(vectors_ND), min(options.num_queries, len(vectors_ND)), replace=False))
        plain_QD = np.asarray(vectors_ND[row_Q], dtype=np.float32)
        parts = options.parts if options.parts and len(options.parts.names) > 1 else None
        alone = [keep_part(plain_QD, parts, number) for number in range(len(parts.names))] if parts else []
        query_QD = np.concatenate([plain_QD, *alone])
        near_QM, score_QM = search_exact(vectors_ND, query_QD, 10 * k)
        return cls(vectors_ND, query_QD, np.tile(row_Q, 1 + len(alone)), near_QM, score_QM[:, k], k, 1 + len(alone))

    def measure_recall(self, row_QK: np.ndarray) -> float:
        """Recall for the worst weighting; K is k + 1, since the row itself is found too."""
        score_QK = np.einsum("qkd,qd->qk", self._read_rows(np.maximum(row_QK, 0)), self.query_QD)
        right_QK = (score_QK >= self.min_score_Q[:, None] - 1e-6) & (row_QK >= 0) & (row_QK != self.row_Q[:, None])
        share_Q = np.minimum(right_QK.sum(axis=1), self.k) / self.k
        return float(share_Q.reshape(self.num_weights, -1).mean(axis=1).min())

    def _read_rows(self, row_QK: np.ndarray) -> np.ndarray:
        return np.asarray(self.vectors_ND[row_QK.ravel()], dtype=np.float32).reshape(*row_QK.shape, -1)

    def measure_code_recall(self, index: faiss.Index) -> float:
        """Recall when all cells are searched: the nearest rows ranked by their codes."""
        codes = [index.sa_decode(index.sa_encode(near_MD)) for near_MD in self._read_rows(self.neighbour_QM)]
        score_QM = np.einsum("qmd,qd->qm", np.stack(codes), self.query_QD)
        order_QK = np.argsort(-score_QM, axis=1)[:, : self.k + 1]
        return self.measure_recall(np.take_along_axis(self.neighbour_QM, order_QK, axis=1))

    def search_cells(self, index: faiss.Index, nprobe: int) -> np.ndarray:
        """Rows int64 (Q, k + 1), by their codes."""
        row_QK: np.ndarray = index.search(self.query_QD, self.k + 1, params=faiss.SearchParametersIVF(nprobe=nprobe))[1]
        return row_QK

    def search_candidates(self, index: faiss.Index, nprobe: int, count: int = CANDIDATES[-1]) -> np.ndarray:
        """Rows int64 (Q, k + 1): the best of so many candidates."""
        row_QC = find_candidates(index, self.query_QD, count, nprobe)
        return rank_anew(self.vectors_ND, self.query_QD, row_QC, self.k + 1)[1]

    def choose_candidates(self, index: faiss.Index, nlist: int, target_recall: float) -> tuple[int, int, float]:
        """Cells that lose at most half of the allowed recall, the fewest candidates that reach it, and their recall."""
        search, most_cells = partial(self.search_candidates, index), min(nlist, max(64, nlist // 8))
        nprobe, recall = self.choose_nprobe(search, most_cells, (1 + target_recall) / 2)
        candidates = CANDIDATES[-1]
        for fewer in reversed(CANDIDATES[:-1]):
            found = self.measure_recall(search(nprobe, fewer))
            if found < target_recall:
                break
            candidates, recall = fewer, found
        return nprobe, candidates, recall

    def choose_nprobe(self, search: Callable[[int], np.ndarray], most: int, target_recall: float) -> tuple[int, float]:
        """The smallest of 1, 2, 3, 4, 6, 9, ... cells that reaches the target, else the most; and its recall."""
        nprobe = 1
        while True:
            recall = self.measure_recall(search(nprobe))
            if recall >= target_recall or nprobe == most:
                return nprobe, recall
            nprobe = min(most, max(nprobe + 1, nprobe * 3 // 2))
