"""`unreel export`: an index for other programs."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from unreel.cli.arguments import parse_args


@dataclasses.dataclass
class ExportArgs:
    """Write the rows of an index for another program: as files, or as a table of a vector database.

    --to parquet:FILE      one Parquet file: path, start_s, end_s, label, embedding, content_hash
    --to numpy:FOLDER      vectors.npy and rows.csv
    --to fiftyone:FOLDER   a FiftyOneTemporalDetectionDataset with a clip per row, embeddings beside it
    --to lightly:FOLDER    for LightlyStudio: a CSV of embeddings, a row per video, and an event per clip (ActivityNet)
    --to lancedb:PATH      a LanceDB table, in a folder or at an address (pip install lancedb)
    --to qdrant:URL        a Qdrant collection, on a server or in a folder (pip install qdrant-client)
    --to pgvector:DSN      a PostgreSQL table with pgvector, e.g. pgvector:postgresql://me@host/db (pip install psycopg)

    It only makes copies; nothing that exists is changed. `unreel index --to` keeps a table up to date.
    """

    index: Positional[Path]
    """What `unreel index` made."""
    to: str
    """KIND:PLACE, see above."""
    table: str = "unreel"
    """Name of the table or collection in a database."""


def export_command(args: list[str]) -> int:
    options = parse_args(ExportArgs, args, "export")
    from unreel.indexing.export.destination import Destination
    from unreel.verbs.indexing.export import export

    destination = Destination.parse(options.to)
    num_rows = export(options.index, destination, options.table)
    place = "" if destination.kind == "pgvector" else f"{destination.place}: "  # a DSN may hold a password
    print(f"{place}{num_rows} rows written")
    return 0
