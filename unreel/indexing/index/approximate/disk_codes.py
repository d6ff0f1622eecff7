"""Codes of a bit a number that stay on disk, for indexes that memory would not hold.

Rows are rotated at random and coded within their cell by the signs of what remains, with two numbers that make the
estimate of an inner product unbiased. A search takes the best candidates by their codes and ranks them anew by the
vectors themselves, so only the choice of candidates is approximate. Codes and vectors are read as memory maps: the
system keeps in memory what is asked for, and takes it back when others need it.
Source: Gao, Long 2024 (RaBitQ).
"""

import mmap

import faiss
import numpy as np

BITS = 1  # a number; two find hardly more among as many candidates, and take twice the time and the place
QUERY_BITS = 8  # a query is rounded to so many before it is compared with codes; not at all takes 200 times as long
CANDIDATES = (64, 128, 256, 512, 1024)  # of which the fewest that reach the recall are taken
CANDIDATES_PER_HIT = 2  # at least, for questions of many hits


def make_coded_ivf(sample_MD: np.ndarray, centre_LD: np.ndarray, seed: int) -> faiss.IndexPreTransform:
    """An empty index with these cells, which are rotated like the rows; reproducible for a seed."""
    nlist, dim = centre_LD.shape
    rotation = faiss.RandomRotationMatrix(dim, dim)
    rotation.init(seed)
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(rotation.apply(centre_LD))
    ivf = faiss.IndexIVFRaBitQ(quantizer, dim, nlist, faiss.METRIC_INNER_PRODUCT, True, BITS)
    ivf.own_fields = True
    quantizer.this.disown()
    index = faiss.IndexPreTransform(rotation, ivf)
    index.own_fields = True
    for part in (rotation, ivf):
        part.this.disown()
    index.train(sample_MD)
    return index


def read_mapped(path: str) -> faiss.Index:
    """An index whose cells stay in the file. Raises RuntimeError."""
    index = faiss.read_index(path, faiss.IO_FLAG_MMAP)
    cells = faiss.downcast_InvertedLists(faiss.extract_index_ivf(index).invlists)
    cells.prefetch_nthread = 0  # by itself each search starts threads that read ahead
    return index


def read_rows(vectors_ND: np.ndarray, row_n: np.ndarray) -> np.ndarray:
    """Vectors float32 (n, D) of rows; those of a memory map are asked of the disk together, and nothing beside them.

    A row that is merely touched is waited for before the next is asked for, and the system reads as much around it as
    it reads ahead, often more than all these rows together.
    """
    memory = getattr(vectors_ND, "_mmap", None)
    if memory is not None and hasattr(mmap, "MADV_WILLNEED"):
        row_bytes = vectors_ND.strides[0]
        first_row = vectors_ND.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
        for start in (first_row + row_bytes * row_n).tolist():
            page_start = start - start % mmap.PAGESIZE
            memory.madvise(mmap.MADV_WILLNEED, page_start, start + row_bytes - page_start)
    return np.asarray(vectors_ND[row_n], np.float32)


def find_candidates(
    index: faiss.Index, query_QD: np.ndarray, count: int, nprobe: int, mask_N: np.ndarray | None = None
) -> np.ndarray:
    """Rows int64 (Q, `count`) that are nearest by their codes, in some order; -1 where cells hold fewer."""
    selector = None if mask_N is None else faiss.IDSelectorBitmap(np.packbits(mask_N, bitorder="little"))
    of_cells = faiss.IVFRaBitQSearchParameters(nprobe=nprobe, sel=selector, qb=QUERY_BITS)
    params = faiss.SearchParametersPreTransform(index_params=of_cells)
    row_QC: np.ndarray = index.search(query_QD, count, params=params)[1]
    return row_QC


def rank_anew(
    vectors_ND: np.ndarray, query_QD: np.ndarray, row_QC: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores float32 (Q, k) and rows int64 (Q, k) of the k candidates that are nearest by their vectors, best first, of
    equal ones the first row; row -1 and score -inf where there are fewer."""
    row_QC = np.sort(row_QC, axis=1)  # so that a file is read forwards
    score_QC = np.full(row_QC.shape, -np.inf, np.float32)
    for query_D, row_C, score_C in zip(query_QD, row_QC, score_QC, strict=True):
        found_C = row_C >= 0
        found_ND = read_rows(vectors_ND, row_C[found_C])
        score_C[found_C] = np.einsum("nd,d->n", found_ND, query_D)  # equal rows get equal scores, unlike from BLAS
    order_QK = np.lexsort((row_QC, -score_QC), axis=1)[:, :k]
    return np.take_along_axis(score_QC, order_QK, axis=1), np.take_along_axis(row_QC, order_QK, axis=1)
