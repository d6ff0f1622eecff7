"""Columns against lists: the same rows, the same order, whatever the chunks."""

import numpy as np
import pyarrow as pa
import pytest

from unreel.rows import columns
from unreel.rows.columns import count_different, is_ascending, is_constant, iterate_sorted, rank_strings, take_rows

STRINGS = ["b", "", "ä", "a", "b", "zz", "𝄞", "a/b", "b", "Z"]


def chunked(values: list[str], sizes: tuple[int, ...]) -> pa.ChunkedArray:
    """`values` in chunks of these sizes, one after the other, and the rest."""
    bounds = np.minimum(np.cumsum([0, *sizes, len(values)]), len(values))
    parts = [values[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return pa.chunked_array([pa.array(part, pa.string()) for part in parts])


@pytest.mark.parametrize("sizes", [(), (3,), (0, 1, 0, 5), (1,) * 10])
@pytest.mark.parametrize("values", [STRINGS, sorted(set(STRINGS)), ["a"] * 7, ["one"], []])
@pytest.mark.parametrize("block", [2, 65_536])
def test_ranks_are_those_of_pythons_order(
    values: list[str], sizes: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "BLOCK_ROWS", block)
    column, names = chunked(values, sizes), sorted(set(values))
    assert rank_strings(column).tolist() == [names.index(value) for value in values]
    assert list(iterate_sorted(column)) == sorted(values)
    assert count_different(column) == len(names)


@pytest.mark.parametrize("sizes", [(), (3,), (0, 1, 0, 5)])
def test_rows_are_taken_in_the_order_asked_for(sizes: tuple[int, ...]) -> None:
    rows = np.array([9, 0, 0, 4, 2, 9])
    taken = take_rows(chunked(STRINGS, sizes), rows)
    assert taken.to_pylist() == [STRINGS[row] for row in rows]
    assert len(take_rows(chunked(STRINGS, sizes), rows[:0])) == 0


@pytest.mark.parametrize(
    ("values", "ascends"), [(["a", "b", "c"], True), (["a", "a", "b"], False), (["a", "c", "b"], False), ([], True)]
)
@pytest.mark.parametrize("sizes", [(), (1,), (2,), (1, 0)])
def test_whether_a_column_ascends(values: list[str], ascends: bool, sizes: tuple[int, ...]) -> None:
    assert is_ascending(chunked(values, sizes)) == ascends


def test_whether_a_column_has_one_value() -> None:
    assert is_constant(chunked(["", "", ""], (1,)), "") and is_constant(chunked([], ()), "")
    assert not is_constant(chunked(["", "", "a"], (1,)), "")
    labels = chunked(["", ""], (1,)).dictionary_encode()
    assert is_constant(labels, "") and not is_constant(labels, "a")
