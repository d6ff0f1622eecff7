"""What a search asks of an index, wherever its vectors lie, and the checks of a question."""

from typing import Protocol

import numpy as np

from unreel.errors import InputError
from unreel.indexing.index.approximate.ann_index_file import IndexDescription


class NearestRows(Protocol):
    """The nearest rows of queries: `AnnIndex` in a folder, `HomeSearch` in a database."""

    description: IndexDescription

    def __len__(self) -> int: ...

    def search(self, query_QD: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 (Q, K) and rows int64 (Q, K) of the k nearest, best first, of equal ones the first row.

        `allowed` is a mask bool (N,) or row numbers; K is less than k only when fewer rows are allowed.
        """
        ...


def require_query(query_QD: np.ndarray, dim: int) -> np.ndarray:
    """Queries float32 (Q, D), contiguous. Raises InputError for another D, and for numbers that are not finite."""
    query_QD = np.ascontiguousarray(query_QD, dtype=np.float32)
    if query_QD.ndim != 2 or query_QD.shape[1] != dim:
        raise InputError(
            f"the query has shape {query_QD.shape}, the index needs (Q, {dim}); "
            "embed queries with the encoder that made the index"
        )
    if not np.isfinite(query_QD).all():
        raise InputError("the query has numbers that are not finite; embed it again")
    return query_QD


def to_mask(allowed: np.ndarray, num_rows: int) -> np.ndarray:
    """A mask bool (N,) of a mask or row numbers. Raises InputError for those of another index."""
    allowed = np.asarray(allowed)
    if allowed.dtype == bool and allowed.shape == (num_rows,):
        return allowed
    if allowed.dtype == bool or (allowed.size and (allowed.min() < 0 or allowed.max() >= num_rows)):
        raise InputError(f"the filter does not fit an index of {num_rows} rows; give a mask of them or row numbers")
    mask_N = np.zeros(num_rows, bool)
    mask_N[allowed.astype(np.int64)] = True
    return mask_N
