"""Write an index for another program."""

from pathlib import Path

from unreel.indexing.export.destination import Destination
from unreel.indexing.index.clip_index import Index, open_index


def export(index: str | Path | Index, to: str | Destination, table: str = "unreel", replace: bool = False) -> int:
    """Write an index to KIND:PLACE, e.g. "parquet:rows.parquet" or "qdrant:http://localhost:6333"; returns its rows.

    `table` is the name of a database's table or collection. With `replace`, a table made by unreel gets the index's
    rows in place of its own. Raises UnreelError.

    >>> export(index, f"parquet:{out}") > 0
    True
    """
    destination = to if isinstance(to, Destination) else Destination.parse(to)
    index = index if isinstance(index, Index) else open_index(index)
    destination.write(index, table, replace)
    return len(index.rows)
