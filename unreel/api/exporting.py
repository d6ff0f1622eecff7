"""An index handed to other programs."""

from collections.abc import Callable
from pathlib import Path

from unreel.errors import InputError, unknown
from unreel.search.databases import to_lancedb, to_pgvector, to_qdrant
from unreel.search.export import to_fiftyone, to_lightly, to_numpy, to_parquet
from unreel.search.index import Index, open_index

FILES: dict[str, Callable[[Index, Path], None]] = {
    "parquet": to_parquet,
    "numpy": to_numpy,
    "fiftyone": to_fiftyone,
    "lightly": to_lightly,
}
DATABASES: dict[str, Callable[[Index, str, str], None]] = {
    "lancedb": to_lancedb,
    "qdrant": to_qdrant,
    "pgvector": to_pgvector,
}


def export_index(index: str | Path | Index, to: str, table: str = "unreel") -> int:
    """Write an index to KIND:PLACE, e.g. "parquet:rows.parquet" or "qdrant:http://localhost:6333"; how many rows.

    `table` names the table or collection of a database. Raises UnreelError.
    """
    kind, colon, place = to.partition(":")
    if kind not in FILES and kind not in DATABASES:
        raise unknown("form", kind, [*FILES, *DATABASES])
    if not colon or not place:
        raise InputError(f"'{to}' says no place; write {kind}:PLACE, where the rows shall go")
    index = index if isinstance(index, Index) else open_index(index)
    if kind in FILES:
        FILES[kind](index, Path(place))
    else:
        DATABASES[kind](index, place, table)
    return len(index.rows)
