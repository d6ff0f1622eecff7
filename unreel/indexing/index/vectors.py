"""Unit vectors float32 (N, D), in memory or on disk: block by block, samples, exact search."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np

from unreel.errors import InputError
from unreel.io.checksums import new_digest

BLOCK_ROWS = 65_536  # rows in memory at a time


def hash_vectors(vectors_ND: np.ndarray) -> str:
    """BLAKE2 of shape and numbers, 128 bits in hex."""
    digest = new_digest(str(vectors_ND.shape).encode())
    for _, block in iterate_blocks(vectors_ND):
        digest.update(block.data)
    return digest.hexdigest()


def iterate_blocks(vectors_ND: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row and vectors float32 (n, D) of each block."""
    for start in range(0, len(vectors_ND), BLOCK_ROWS):
        yield start, np.ascontiguousarray(vectors_ND[start : start + BLOCK_ROWS], dtype=np.float32)


def write_npy(path: Path, num_rows: int, blocks: Iterable[np.ndarray]) -> None:
    """Vectors (N, D), of which `parts` are some rows at a time, as .npy in float32. Raises OSError, of a full disk too.

    Written through a file, since a map of one that finds the disk full ends the process.
    """
    with path.open("wb") as file:
        for n, part in enumerate(blocks):
            if not n:
                shape = (num_rows, part.shape[1])
                np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            file.write(np.ascontiguousarray(part, "<f4").data)


def require_unit_norm(vectors_ND: np.ndarray) -> None:
    """Raise InputError unless these are rows of length 1."""
    if vectors_ND.ndim != 2 or not vectors_ND.size:
        raise InputError(f"an index needs vectors (N, D), got {vectors_ND.shape}; embed some videos first")
    for start, block in iterate_blocks(vectors_ND):
        length_N = np.sqrt(np.einsum("nd,nd->n", block, block))
        wrong = np.flatnonzero(~(np.abs(length_N - 1) < 1e-3))
        if len(wrong):
            row = start + int(wrong[0])
            raise InputError(f"row {row} has length {length_N[wrong[0]]:.3g}, not 1; write the embeddings again")


def project_rows(vectors_ND: np.ndarray, weight_D: np.ndarray) -> np.ndarray:
    """The inner product of every row with a vector, float32 (N,); of vectors in a database, by the database."""
    if not isinstance(vectors_ND, np.ndarray):
        projected_N: np.ndarray = vectors_ND.project(weight_D)
        return projected_N
    parts = [block @ weight_D for _, block in iterate_blocks(vectors_ND)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def sample_rows(vectors_ND: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` random rows without repetition, in their order."""
    rows = np.sort(rng.choice(len(vectors_ND), min(count, len(vectors_ND)), replace=False))
    return np.ascontiguousarray(vectors_ND[rows], dtype=np.float32)


def search_exact(
    vectors_ND: np.ndarray, query_QD: np.ndarray, k: int, mask_N: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows int64 (Q, K) and scores float32 (Q, K) of the k nearest rows (or all), by comparison with every row, or with
    every one of a mask."""
    row_QK = np.zeros((len(query_QD), 0), np.int64)
    score_QK = np.zeros((len(query_QD), 0), np.float32)
    for start, block in iterate_blocks(vectors_ND):
        row_n = np.arange(start, start + len(block))
        if mask_N is not None:
            allowed_n = mask_N[start : start + len(block)]
            row_n, block = row_n[allowed_n], block[allowed_n]
        if not len(block) or not k or not len(query_QD):
            continue
        more_QK, where_QK = faiss.knn(query_QD, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        score_QK = np.concatenate([score_QK, more_QK], axis=1)
        row_QK = np.concatenate([row_QK, row_n[where_QK]], axis=1)
        order_QK = np.lexsort((row_QK, -score_QK), axis=1)[:, :k]
        row_QK, score_QK = np.take_along_axis(row_QK, order_QK, 1), np.take_along_axis(score_QK, order_QK, 1)
    return row_QK, score_QK
