"""Export an index as Parquet or NumPy files. Row N of the index is row N of the file."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from unreel.indexing.export.row_batches import ROW_COLUMNS, iterate_batches
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.vectors import iterate_blocks, write_npy
from unreel.indexing.store.embeddings_file import (
    COLUMNS,
    CONTENT_HASH,
    METADATA_KEY,
    read_table,
)
from unreel.indexing.store.previous_files import list_indexed_parts
from unreel.io.atomic_write import atomic_folder, atomic_path, atomic_write_csv, disk_errors
from unreel.io.output_path import require_new_path

WRITE_ADVICE, NEW_PLACE_ADVICE = "free space or choose another place", "choose another place"


def to_parquet(index: Index, target: Path) -> None:
    """One file of columns path, start_s, end_s, label, embedding and content_hash, in the order of the rows."""
    path = require_new_path(target, NEW_PLACE_ADVICE)
    metadata = json.dumps({name: index.metadata[name] for name in ("encoder", "encoder_hash")})
    writer = None
    with disk_errors(path, advice=WRITE_ADVICE):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, sync=False) as temporary:
            for part in list_indexed_parts(index.folder, index.ann_index.description.parts):
                table = read_table(part, (*COLUMNS, CONTENT_HASH)).replace_schema_metadata(
                    {METADATA_KEY: metadata.encode()}
                )
                writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table)
            if writer is not None:
                writer.close()


def to_numpy(index: Index, target: Path) -> None:
    """A folder of vectors.npy, float32 (N, D), and rows.csv, which describes each row."""

    def fill(folder: Path) -> None:
        write_npy(folder / "vectors.npy", len(index.rows), (block for _, block in iterate_blocks(index.vectors_ND)))
        lines = (list(row.values()) for _, rows, _ in iterate_batches(index) for row in rows)
        atomic_write_csv(folder / "rows.csv", ROW_COLUMNS, lines)

    write_folder(target, fill)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder, whole or not at all. Raises DiskError, and InputError when it is there already."""
    require_new_path(folder, NEW_PLACE_ADVICE)
    with disk_errors(folder, advice=WRITE_ADVICE), atomic_folder(folder) as temporary:
        fill(temporary)
