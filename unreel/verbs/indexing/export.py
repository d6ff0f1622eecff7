"""Write an index for another program."""

from pathlib import Path
from typing import Literal

from unreel.indexing.export.destination import Destination
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.index.clip_index import Index


def export(
    index: str | Path | Index,
    to: str | Destination,
    table: str = "unreel",
    replace: bool = False,
    nearest: Literal["exact", "approximate"] = "exact",
) -> int:
    """Write an index for another program.

    Args:
        index: folder or address of an index, or an opened one.
        to: KIND:PLACE, e.g. "parquet:rows.parquet" or "qdrant:http://localhost:6333".
        table: name of the database's table or collection.
        replace: put the index's rows in place of those of a table that unreel made.
        nearest: "approximate" lets the database make its own index of the rows, measures its recall, and searches by it
            wherever the table is opened.

    Returns:
        The number of rows written.

    Raises:
        InputError: the index or the destination can't be used.
        DiskError: the file can't be written.

    >>> unreel.export(index, f"parquet:{out}") == len(unreel.open_index(index).rows)
    True
    """
    destination = to if isinstance(to, Destination) else Destination.parse(to).searched(nearest)
    index = index if isinstance(index, Index) else open_index(index)
    destination.write(index, table, replace)
    return len(index.rows)
