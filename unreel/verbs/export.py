"""An index handed to other programs."""

from collections.abc import Callable
from pathlib import Path

from unreel.errors import InputError, unknown_name_error
from unreel.indexing.export_databases import import_optional, to_lancedb, to_pgvector, to_qdrant
from unreel.indexing.export_files import to_fiftyone, to_lightly, to_numpy, to_parquet
from unreel.indexing.index.clip_index import Index, open_index

FILE_EXPORTERS: dict[str, Callable[[Index, Path], None]] = {
    "parquet": to_parquet,
    "numpy": to_numpy,
    "fiftyone": to_fiftyone,
    "lightly": to_lightly,
}
DATABASE_EXPORTERS: dict[str, Callable[[Index, str, str, bool], None]] = {
    "lancedb": to_lancedb,
    "qdrant": to_qdrant,
    "pgvector": to_pgvector,
}
DATABASE_LIBRARIES = {
    "lancedb": ("lancedb", "lancedb"),
    "qdrant": ("qdrant_client", "qdrant-client"),
    "pgvector": ("psycopg", "psycopg[binary]"),
}


def export_index(index: str | Path | Index, to: str, table: str = "unreel", replace: bool = False) -> int:
    """Write an index to KIND:PLACE, e.g. "parquet:rows.parquet" or "qdrant:http://localhost:6333"; how many rows.

    `table` names the table or collection of a database; with `replace` one that unreel made may be there, and gets the
    index's rows in place of its own. Raises UnreelError.
    """
    kind, place = parse_destination(to, [*FILE_EXPORTERS, *DATABASE_EXPORTERS])
    index = index if isinstance(index, Index) else open_index(index)
    if kind in DATABASE_EXPORTERS:
        DATABASE_EXPORTERS[kind](index, place, table, replace)
    elif replace:
        raise InputError(f"'{to}': only tables of a database are replaced ({', '.join(DATABASE_EXPORTERS)})")
    else:
        FILE_EXPORTERS[kind](index, Path(place))
    return len(index.rows)


def require_database(destination: str) -> None:
    """Raise InputError unless this is a database at a place, and its library installed: before hours are spent."""
    kind, _, _ = destination.partition(":")
    if kind in FILE_EXPORTERS:
        raise InputError(f"--to {kind}: a file is written once; use `unreel export INDEX --to {kind}:PLACE` afterwards")
    parse_destination(destination, list(DATABASE_EXPORTERS))
    import_optional(*DATABASE_LIBRARIES[kind])


def parse_destination(text: str, kinds: list[str]) -> tuple[str, str]:
    """Kind and place of KIND:PLACE. Raises InputError."""
    kind, _, place = text.partition(":")
    if kind not in kinds:
        raise unknown_name_error("form", kind, kinds)
    if not place:
        raise InputError(f"'{text}' says no place; write {kind}:PLACE, where the rows shall go")
    return kind, place
