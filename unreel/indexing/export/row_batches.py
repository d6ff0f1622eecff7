"""The rows of an index, batch by batch, as exporters write them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from unreel.indexing.index.clip_index import Index

ROW_COLUMNS = ("row", "video", "start_s", "end_s", "label")
BATCH_ROWS = 4096


def iterate_batches(
    index: Index, max_rows: int | None = None
) -> Iterator[tuple[int, list[dict[str, Any]], np.ndarray]]:
    """First row number, descriptions and vectors (n, D) of at most `max_rows` rows (default BATCH_ROWS) at a time."""
    max_rows = max_rows or BATCH_ROWS
    for first in range(0, len(index.rows), max_rows):
        row_n = np.arange(first, min(first + max_rows, len(index.rows)))
        yield first, [describe_row(index, int(row)) for row in row_n], index.get_vectors(row_n)


def describe_row(index: Index, row: int) -> dict[str, Any]:
    """The values of ROW_COLUMNS."""
    moment = index.rows.get_moment(row)
    span_s = {"start_s": moment.start_s, "end_s": moment.end_s}
    return {"row": row, "video": moment.path, **span_s, "label": index.rows.get_label(row)}
