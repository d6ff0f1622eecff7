"""Columns of Arrow: rows by number, and strings numbered in order, a block at a time."""

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BLOCK_ROWS = 65_536  # rows that are Python objects at once


def take_rows(column: pa.ChunkedArray, row_n: np.ndarray) -> pa.Array:
    """The values of some rows, (n,). Arrow's own `take` first copies the whole column into one piece.

    >>> take_rows(pa.chunked_array([["a", "b"], ["c"]]), np.array([2, 0, 2])).to_pylist()
    ['c', 'a', 'c']
    """
    chunks = column.chunks or [pa.array([], column.type)]
    first_C = np.concatenate([[0], np.cumsum([len(chunk) for chunk in chunks])])
    chunk_n = np.searchsorted(first_C, row_n, side="right") - 1
    order_n = np.argsort(chunk_n, kind="stable")
    parts = [
        chunks[number].take(pa.array(row_n[chunk_n == number] - first_C[number]))
        for number in np.unique(chunk_n).tolist()
    ]
    if len(parts) == 1:
        return parts[0]
    place_n = np.empty(len(row_n), np.int64)
    place_n[order_n] = np.arange(len(row_n))
    return pa.chunked_array(parts, column.type).unify_dictionaries().combine_chunks().take(pa.array(place_n))


def share_columns(table: pa.Table, other: pa.Table) -> pa.Table:
    """The same table, with the columns of another one of its schema where they are equal: they stand in memory once.

    >>> first, second = (pa.table({"a": [0, 0], "b": [n, n]}) for n in (1, 2))
    >>> shared = share_columns(second, first)
    >>> shared.equals(second), [c.chunk(0).buffers()[1].address for c in shared.columns] == [
    ...     first["a"].chunk(0).buffers()[1].address, second["b"].chunk(0).buffers()[1].address]
    (True, True)
    """
    columns = [old if new.equals(old) else new for new, old in zip(table.columns, other.columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=table.schema)


def rank_strings(column: pa.ChunkedArray) -> np.ndarray:
    """The rank (N,) of each string among the different ones, int32; equal strings have equal ranks.

    The order is that of code points, as of Python's strings. Strings are compared a block at a time, so that a column
    of gigabytes is never copied.

    >>> rank_strings(pa.chunked_array([["b", "a"], ["b", "c"]]))
    array([1, 0, 1, 2], dtype=int32)
    """
    if is_ascending(column):  # as files of a folder are found
        return np.arange(len(column), dtype=np.int32)
    order_N = pc.sort_indices(column).to_numpy().astype(np.int32)
    is_new_N = np.zeros(len(order_N), bool)
    for start in range(1, len(order_N), BLOCK_ROWS):
        block = take_rows(column, order_N[start - 1 : start + BLOCK_ROWS])
        is_new_N[start : start + BLOCK_ROWS] = pc.not_equal(block[1:], block[:-1]).to_numpy(zero_copy_only=False)
    rank_N = np.empty(len(order_N), np.int32)
    rank_N[order_N] = np.cumsum(is_new_N, dtype=np.int32)
    return rank_N


def count_different(column: pa.ChunkedArray) -> int:
    """How many different strings there are.

    >>> count_different(pa.chunked_array([["b", "a"], ["b"]]))
    2
    """
    return int(rank_strings(column).max()) + 1 if len(column) else 0


def iterate_sorted(column: pa.ChunkedArray) -> Iterator[str]:
    """The strings of a column in the order of code points, a block at a time.

    >>> list(iterate_sorted(pa.chunked_array([["b", "a"], ["b"]])))
    ['a', 'b', 'b']
    """
    order_N = pc.sort_indices(column).to_numpy().astype(np.int32)
    for start in range(0, len(order_N), BLOCK_ROWS):
        yield from take_rows(column, order_N[start : start + BLOCK_ROWS]).to_pylist()


def is_ascending(column: pa.ChunkedArray) -> bool:
    """Whether each row is greater than the row before.

    >>> is_ascending(pa.chunked_array([["a", "b"], ["c"]])), is_ascending(pa.chunked_array([["a"], ["a"]]))
    (True, False)
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    edges = [(last[-1], first[0]) for last, first in itertools.pairwise(chunks)]
    inside = (pc.all(pc.less(chunk[:-1], chunk[1:])).as_py() is not False for chunk in chunks)
    return all(pc.less(*edge).as_py() for edge in edges) and all(inside)


def is_constant(column: pa.ChunkedArray, value: object) -> bool:
    """Whether every row of a column has this value; also without rows.

    >>> is_constant(pa.chunked_array([["", ""]]), ""), is_constant(pa.chunked_array([["", "a"]]), "")
    (True, False)
    """
    return all(pc.all(pc.equal(chunk, value)).as_py() is not False for chunk in column.chunks)
