"""Where an index is exported to: KIND:PLACE, e.g. parquet:rows.parquet or qdrant:http://localhost:6333.

A new kind is a function and a line of EXPORTERS, which the help of `unreel export` shows.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unreel.errors import InputError, unknown_name_error

if TYPE_CHECKING:  # the help of `unreel export` needs neither torch nor pyarrow
    from unreel.indexing.index.clip_index import Index


class FileExporter(NamedTuple):
    """Writes an index to a new file or folder by `function(index, path)`; `place` and `summary` are for the help.

    `function` is "FILE:NAME" of this folder, which is imported only to write.
    """

    function: str
    place: str
    summary: str


class DatabaseExporter(NamedTuple):
    """Writes an index to a table by `function(index, address, table, replace)`; needs a package's module."""

    function: str
    place: str
    summary: str
    module: str
    package: str


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
    "lancedb": DatabaseExporter(
        "databases:to_lancedb",
        "PATH",
        "a LanceDB table, in a folder or at an address (pip install lancedb)",
        "lancedb",
        "lancedb",
    ),
    "qdrant": DatabaseExporter(
        "databases:to_qdrant",
        "URL",
        "a Qdrant collection, on a server or in a folder (pip install qdrant-client)",
        "qdrant_client",
        "qdrant-client",
    ),
    "pgvector": DatabaseExporter(
        "databases:to_pgvector",
        "DSN",
        "a PostgreSQL table with pgvector, e.g. pgvector:postgresql://me@host/db (pip install psycopg)",
        "psycopg",
        "psycopg[binary]",
    ),
}
DATABASES = {kind: exporter for kind, exporter in EXPORTERS.items() if isinstance(exporter, DatabaseExporter)}


def _load_function(name: str) -> Callable[..., None]:
    """The function "FILE:NAME" of this folder."""
    file, _, function = name.partition(":")
    write: Callable[..., None] = getattr(importlib.import_module(f"{__package__}.{file}"), function)
    return write


def format_kinds() -> str:
    """The lines of the help, one for each kind."""
    options = {f"--to {kind}:{exporter.place}": exporter.summary for kind, exporter in EXPORTERS.items()}
    width = max(map(len, options))
    return "\n".join(f"{option:<{width}}   {summary}" for option, summary in options.items())


@dataclass(frozen=True)
class Destination:
    """A kind of export, and the file, folder, address or connection string it goes to."""

    kind: str
    place: str

    @classmethod
    def parse(cls, text: str, kinds: Iterable[str] = tuple(EXPORTERS)) -> "Destination":
        """Read KIND:PLACE. Raises InputError."""
        kind, _, place = text.partition(":")
        if kind not in kinds:
            raise unknown_name_error("export format", kind, kinds)
        if not place:
            raise InputError(f"'{text}' has no place; write {kind}:{EXPORTERS[kind].place}")
        return cls(kind, place)

    @classmethod
    def parse_database(cls, text: str) -> "Destination":
        """Read a database's KIND:PLACE, and check that its library is installed. Raises InputError."""
        kind, _, _ = text.partition(":")
        if isinstance(exporter := EXPORTERS.get(kind), FileExporter):
            command = f"unreel export INDEX --to {kind}:{exporter.place}"
            raise InputError(f"--to {kind}: a file is written once; use `{command}` afterwards")
        destination = cls.parse(text, DATABASES)
        from unreel.indexing.export.databases import import_optional

        import_optional(DATABASES[kind].module, DATABASES[kind].package)
        return destination

    def write(self, index: "Index", table: str, replace: bool) -> None:
        """Export the index. `table` and `replace` are for databases only. Raises UnreelError."""
        exporter = EXPORTERS[self.kind]
        if isinstance(exporter, DatabaseExporter):
            _load_function(exporter.function)(index, self.place, table, replace)
        elif replace:
            known = ", ".join(DATABASES)
            raise InputError(f"'{self.kind}:{self.place}': only tables of a database are replaced ({known})")
        else:
            _load_function(exporter.function)(index, Path(self.place))
