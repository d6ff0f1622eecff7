"""Where an index is exported to: KIND:PLACE, e.g. parquet:rows.parquet or qdrant:http://localhost:6333."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from unreel.errors import InputError, unknown_name_error
from unreel.indexing.export.databases import import_optional, to_lancedb, to_pgvector, to_qdrant
from unreel.indexing.export.files import to_numpy, to_parquet
from unreel.indexing.export.labelling_tools import to_fiftyone, to_lightly
from unreel.indexing.index.clip_index import Index

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
DATABASE_LIBRARIES = {  # module and package
    "lancedb": ("lancedb", "lancedb"),
    "qdrant": ("qdrant_client", "qdrant-client"),
    "pgvector": ("psycopg", "psycopg[binary]"),
}


@dataclass(frozen=True)
class Destination:
    """A kind of export, and the file, folder, address or connection string it goes to."""

    kind: str
    place: str

    @classmethod
    def parse(cls, text: str, kinds: Iterable[str] = (*FILE_EXPORTERS, *DATABASE_EXPORTERS)) -> "Destination":
        """Read KIND:PLACE. Raises InputError."""
        kind, _, place = text.partition(":")
        if kind not in kinds:
            raise unknown_name_error("form", kind, kinds)
        if not place:
            raise InputError(f"'{text}' says no place; write {kind}:PLACE, where the rows shall go")
        return cls(kind, place)

    @classmethod
    def parse_database(cls, text: str) -> "Destination":
        """Read a database's KIND:PLACE, and check that its library is installed. Raises InputError."""
        kind, _, _ = text.partition(":")
        if kind in FILE_EXPORTERS:
            raise InputError(
                f"--to {kind}: a file is written once; use `unreel export INDEX --to {kind}:PLACE` afterwards"
            )
        destination = cls.parse(text, DATABASE_EXPORTERS)
        import_optional(*DATABASE_LIBRARIES[kind])
        return destination

    def write(self, index: Index, table: str, replace: bool) -> None:
        """Export the index. `table` and `replace` are for databases only. Raises UnreelError."""
        if self.kind in DATABASE_EXPORTERS:
            DATABASE_EXPORTERS[self.kind](index, self.place, table, replace)
        elif replace:
            known = ", ".join(DATABASE_EXPORTERS)
            raise InputError(f"'{self.kind}:{self.place}': only tables of a database are replaced ({known})")
        else:
            FILE_EXPORTERS[self.kind](index, Path(self.place))
