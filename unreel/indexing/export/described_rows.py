"""The rows of an index without their vectors, as exporters to files describe them."""

from collections.abc import Iterator
from typing import Any

from unreel.indexing.homes.home import ROW_COLUMNS
from unreel.indexing.index.clip_index import Index

DESCRIBED_COLUMNS = tuple(name for name in ROW_COLUMNS if name != "content_hash")


def iterate_rows(index: Index) -> Iterator[dict[str, Any]]:
    """The values of DESCRIBED_COLUMNS of one row after the other."""
    for row in range(len(index.rows)):
        moment = index.rows.get_moment(row)
        span_s = {"start_s": moment.start_s, "end_s": moment.end_s}
        yield {"row": row, "video": moment.path, **span_s, "label": index.rows.get_label(row)}
