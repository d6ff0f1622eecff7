"""Where an index is exported to: KIND:PLACE, e.g. parquet:rows.parquet or qdrant:http://localhost:6333.

A new kind is a function and a line of EXPORTERS, which the help of `unreel export` shows.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unreel.errors import InputError, unknown_name_error
from unreel.indexing.homes.address import (
    DEFAULT_TABLE,
    HOME_KINDS,
    HomeAddress,
    get_kind,
    import_optional,
    make_address,
)
from unreel.io.text import align_lines

if TYPE_CHECKING:  # the help of `unreel export` needs neither torch nor pyarrow
    from unreel.indexing.index.clip_index import Index


class FileExporter(NamedTuple):
    """Writes an index to a new file or folder by `function(index, path)`; `place` and `summary` are for the help.

    `function` is "FILE:NAME" of this folder.
    """

    function: str
    place: str
    summary: str


class DatabaseExporter(NamedTuple):
    """Writes an index to its home in a database (homes/); `place` and `summary` are for the help."""

    place: str
    summary: str


EXPORTERS: dict[str, FileExporter | DatabaseExporter] = {
    "parquet": FileExporter(
        "files:to_parquet", "FILE", "one Parquet file: path, start_s, end_s, label, embedding, content_hash"
    ),
    "numpy": FileExporter("files:to_numpy", "FOLDER", "vectors.npy and rows.csv"),
    "fiftyone": FileExporter(
        "labelling_tools:to_fiftyone",
        "FOLDER",
        "a FiftyOneTemporalDetectionDataset with a clip per row, embeddings beside it",
    ),
    "lightly": FileExporter(
        "labelling_tools:to_lightly",
        "FOLDER",
        "for LightlyStudio: a CSV of embeddings, a row per video, and an event per clip (ActivityNet)",
    ),
    "lancedb": DatabaseExporter("PATH", "a LanceDB table, in a folder or at an address (pip install lancedb)"),
    "qdrant": DatabaseExporter("URL", "a Qdrant collection, on a server or in a folder (pip install qdrant-client)"),
    "postgres": DatabaseExporter(
        "URL", "a PostgreSQL table with pgvector, e.g. postgres:postgresql://me@host/db (pip install psycopg)"
    ),
}
DATABASES = {kind: exporter for kind, exporter in EXPORTERS.items() if isinstance(exporter, DatabaseExporter)}


def _load_function(name: str) -> Callable[..., None]:
    """The function "FOLDER.FILE:NAME" beside this folder, which is imported only to write."""
    file, _, function = name.partition(":")
    write: Callable[..., None] = getattr(importlib.import_module(f"unreel.indexing.{file}"), function)
    return write


def format_kinds() -> str:
    """The lines of the help, one for each kind."""
    return align_lines({f"--to {kind}:{exporter.place}": exporter.summary for kind, exporter in EXPORTERS.items()})


@dataclass(frozen=True)
class Destination:
    """A kind of export, and the file, folder or address it goes to."""

    kind: str
    place: str

    address: HomeAddress | None = None
    nearest: str = "exact"

    @classmethod
    def parse(cls, text: str, kinds: Iterable[str] = tuple(EXPORTERS)) -> "Destination":
        """Read KIND:PLACE. Raises InputError."""
        name, _, place = text.partition(":")
        kind = get_kind(name)
        if kind not in kinds:
            raise unknown_name_error("export format", name, kinds)
        if not place:
            raise InputError(f"'{text}' has no place; write {kind}:{EXPORTERS[kind].place}")
        return cls(kind, place, make_address(kind, place) if kind in DATABASES else None)

    @classmethod
    def parse_database(cls, text: str) -> "Destination":
        """Read a database's KIND:PLACE, and check that its library is installed. Raises InputError."""
        kind, _, _ = text.partition(":")
        if isinstance(exporter := EXPORTERS.get(kind), FileExporter):
            command = f"unreel export INDEX --to {kind}:{exporter.place}"
            raise InputError(f"--to {kind}: a file is written once; use `{command}` afterwards")
        destination = cls.parse(text, DATABASES)
        import_optional(HOME_KINDS[destination.kind].module, HOME_KINDS[destination.kind].package)
        return destination

    def in_table(self, table: str) -> "Destination":
        """The same with a table of this name, in a database; "unreel" keeps the address. Raises InputError."""
        if self.address is None or table == DEFAULT_TABLE:
            return self
        return replace_fields(self, address=replace_fields(self.address, table=table))

    def searched(self, nearest: str) -> "Destination":
        """The same, searched exactly or approximately by whoever opens it. Raises InputError for files."""
        if nearest != "exact" and self.address is None:
            raise InputError(f"'{self.kind}:{self.place}': only a database is searched ({', '.join(DATABASES)})")
        return replace_fields(self, nearest=nearest)

    def __str__(self) -> str:
        """The place, as it may be shown."""
        return self.place if self.address is None else str(self.address)

    def write(self, index: "Index", table: str, replace: bool) -> None:
        """Export the index. `table` and `replace` are for databases only. Raises UnreelError."""
        exporter = EXPORTERS[self.kind]
        if self.address is not None:
            address = self.in_table(table).address
            _load_function("homes.content:write_home")(index, address, replace)
            if self.nearest == "approximate":
                _load_function("homes.approximate:keep_approximation")(index, address)
        elif replace:
            known = ", ".join(DATABASES)
            raise InputError(f"'{self.kind}:{self.place}': only tables of a database are replaced ({known})")
        elif isinstance(exporter, FileExporter):
            _load_function(f"export.{exporter.function}")(index, Path(self.place))
