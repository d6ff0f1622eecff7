"""An index handed to other programs."""

from collections.abc import Callable
from pathlib import Path

from unreel.errors import InputError, unknown
from unreel.search.databases import needed, to_lancedb, to_pgvector, to_qdrant
from unreel.search.export import to_fiftyone, to_lightly, to_numpy, to_parquet
from unreel.search.index import Index, open_index

FILES: dict[str, Callable[[Index, Path], None]] = {
    "parquet": to_parquet,
    "numpy": to_numpy,
    "fiftyone": to_fiftyone,
    "lightly": to_lightly,
}
DATABASES: dict[str, Callable[[Index, str, str, bool], None]] = {
    "lancedb": to_lancedb,
    "qdrant": to_qdrant,
    "pgvector": to_pgvector,
}
LIBRARIES = {
    "lancedb": ("lancedb", "lancedb"),
    "qdrant": ("qdrant_client", "qdrant-client"),
    "pgvector": ("psycopg", "psycopg[binary]"),
}


def export_index(index: str | Path | Index, to: str, table: str = "unreel", replace: bool = False) -> int:
    """Write an index to KIND:PLACE, e.g. "parquet:rows.parquet" or "qdrant:http://localhost:6333"; how many rows.

    `table` names the table or collection of a database; with `replace` one that unreel made may be there, and gets the
    index's rows in place of its own. Raises UnreelError.
    """
    kind, place = destination(to, [*FILES, *DATABASES])
    index = index if isinstance(index, Index) else open_index(index)
    if kind in DATABASES:
        DATABASES[kind](index, place, table, replace)
    elif replace:
        raise InputError(f"'{to}': only tables of a database are replaced ({', '.join(DATABASES)})")
    else:
        FILES[kind](index, Path(place))
    return len(index.rows)


def require_database(to: str) -> None:
    """Raise InputError unless this is a database at a place, and its library installed: before hours are spent."""
    kind, _, _ = to.partition(":")
    if kind in FILES:
        raise InputError(f"--to {kind}: a file is written once; use `unreel export INDEX --to {kind}:PLACE` afterwards")
    destination(to, list(DATABASES))
    needed(*LIBRARIES[kind])


def destination(to: str, kinds: list[str]) -> tuple[str, str]:
    """Kind and place of KIND:PLACE. Raises InputError."""
    kind, _, place = to.partition(":")
    if kind not in kinds:
        raise unknown("form", kind, kinds)
    if not place:
        raise InputError(f"'{to}' says no place; write {kind}:PLACE, where the rows shall go")
    return kind, place
