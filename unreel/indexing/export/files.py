"""Export an index as Parquet or NumPy files. Row N of the index is row N of the file."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.indexing.export.described_rows import DESCRIBED_COLUMNS, iterate_rows
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.vectors import iterate_blocks, write_npy
from unreel.indexing.store.embeddings_file import (
    COLUMNS,
    CONTENT_HASH,
    METADATA_KEY,
    embeddings_to_table,
    read_table,
)
from unreel.indexing.store.previous_files import list_indexed_parts
from unreel.io.atomic_write import atomic_folder, atomic_path, atomic_write_csv, disk_errors
from unreel.io.output_path import require_new_path
from unreel.types import Embeddings

WRITE_ADVICE, NEW_PLACE_ADVICE = "free space or choose another place", "choose another place"


def to_parquet(index: Index, target: Path) -> None:
    """One file of columns path, start_s, end_s, label, embedding and content_hash, in the order of the rows."""
    path = require_new_path(target, NEW_PLACE_ADVICE)
    metadata = json.dumps({name: index.metadata[name] for name in ("encoder", "encoder_hash")})
    writer = None
    with disk_errors(path, advice=WRITE_ADVICE):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, sync=False) as temporary:
            for table in iterate_tables(index):
                table = table.replace_schema_metadata({METADATA_KEY: metadata.encode()})
                writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table)
            if writer is not None:
                writer.close()


def iterate_tables(index: Index) -> Iterator[pa.Table]:
    """The rows as they lie in the parts of a store; of an index in a database, which has no parts, made from its rows.

    All views of a row of a store have the same length (see row_parts.py).
    """
    if isinstance(index.vectors_ND, np.ndarray):
        parts = list_indexed_parts(index.folder, index.ann_index.description.parts)
        yield from (read_table(part, (*COLUMNS, CONTENT_HASH)) for part in parts)
        return
    rows = index.rows
    for first, block in iterate_blocks(index.vectors_ND):
        row_n = range(first, first + len(block))
        yield embeddings_to_table(
            Embeddings(
                vectors=index.parts.to_store(block),
                paths=[rows.get_path(row) for row in row_n],
                start_s=rows.start_s[first : first + len(block)],
                end_s=rows.end_s[first : first + len(block)],
                labels=[rows.get_label(row) for row in row_n],
                content_hashes=[rows.content_hashes[rows.content_N[row]] for row in row_n],
            )
        )


def to_numpy(index: Index, target: Path) -> None:
    """A folder of vectors.npy, float32 (N, D), and rows.csv, which describes each row."""

    def fill(folder: Path) -> None:
        write_npy(folder / "vectors.npy", len(index.rows), (block for _, block in iterate_blocks(index.vectors_ND)))
        lines = (list(row.values()) for row in iterate_rows(index))
        atomic_write_csv(folder / "rows.csv", DESCRIBED_COLUMNS, lines)

    write_folder(target, fill)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder, whole or not at all. Raises DiskError, and InputError when it is there already."""
    require_new_path(folder, NEW_PLACE_ADVICE)
    with disk_errors(folder, advice=WRITE_ADVICE), atomic_folder(folder) as temporary:
        fill(temporary)
