"""The Parquet parts of a store: which contents they hold, and how they follow changes among the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from unreel.corpus.file_tracker import FileRecords
from unreel.errors import InputError
from unreel.indexing.store.embedding_store import read_store_json
from unreel.indexing.store.embeddings_file import (
    COLUMNS,
    CONTENT_HASH,
    METADATA_KEY,
    list_parts,
    read_table,
    write_parquet,
)
from unreel.indexing.store.file_names import PARTS_FOLDER
from unreel.indexing.store.previous_files import keep_previous
from unreel.io.atomic_write import remove_leftovers
from unreel.io.text import parse_json
from unreel.rows.file_rows import iterate_sorted

FILE_COLUMNS = ("path", "label", CONTENT_HASH)
INDEXED_COLUMNS = [CONTENT_HASH, "start_s", "end_s"]  # an index stays right while these do


@dataclass(frozen=True)
class Content:
    """Bytes that one or more files hold: their hash, and (path, label) of each file. The first file is decoded."""

    content_hash: str
    files: tuple[tuple[str, str], ...]


def group_by_content(files: FileRecords) -> dict[str, Content]:
    """Contents by hash, in the order of the paths."""
    files_by_hash: dict[str, list[tuple[str, str]]] = {}
    for record in iterate_sorted(files):
        files_by_hash.setdefault(record.content_hash, []).append((record.path, record.label))
    return {hash_: Content(hash_, tuple(paths)) for hash_, paths in files_by_hash.items()}


def reconcile_parts(folder: Path, contents: dict[str, Content]) -> dict[str, int]:
    """Make the parts hold exactly the wanted contents, with rows for each of their files; count the rows by content.

    Parts that are right are not touched, and the vectors of others only are read. Where a part gets other rows, the old
    one is kept for the index that was built of it (previous_files.py). Raises DiskError, and InputError for a part that
    is damaged or of another encoder.
    """
    remove_leftovers(folder / PARTS_FOLDER)
    remove_leftovers(folder)
    encoder_hash, num_rows = read_store_json(folder)["encoder_hash"], dict[str, int]()
    for part in list_parts(folder):
        rows = read_table(part, FILE_COLUMNS)
        if parse_json((rows.schema.metadata or {}).get(METADATA_KEY, b"{}")).get("encoder_hash") != encoder_hash:
            raise InputError(f"{part}: a part of another encoder's store; remove it and run the command again")
        counts = _count_rows_by_file(rows)
        hashes = dict.fromkeys(hash_ for _, _, hash_ in counts)
        wanted = [contents[hash_] for hash_ in hashes if hash_ in contents and hash_ not in num_rows]
        if set(counts) != {(path, label, c.content_hash) for c in wanted for path, label in c.files}:
            counts = _count_rows_by_file(_rewrite_part(folder, part, wanted))
        for (_, _, hash_), count in counts.items():
            num_rows[hash_] = num_rows.get(hash_, 0) + count
    return num_rows


def _count_rows_by_file(rows: pa.Table) -> dict[tuple[str, str, str], int]:
    """Number of rows by (path, label, content hash), in the order of the rows, which group_by alone does not keep."""
    numbered = rows.append_column("row", pa.array(np.arange(len(rows))))
    grouped = numbered.group_by(list(FILE_COLUMNS), use_threads=False).aggregate([([], "count_all"), ("row", "min")])
    ordered = grouped.sort_by("row_min")
    columns = [ordered[name].to_pylist() for name in (*FILE_COLUMNS, "count_all")]
    return {(path, label, hash_): count for path, label, hash_, count in zip(*columns, strict=True)}


def _rewrite_part(folder: Path, part: Path, contents: list[Content]) -> pa.Table:
    """Write a part again with rows for each file of these contents; delete it when there are none."""
    table = read_table(part, (*COLUMNS, CONTENT_HASH))
    path_N, hash_N = (np.array(table[name].to_pylist(), dtype=object) for name in ("path", CONTENT_HASH))
    rows: list[np.ndarray] = []
    names: list[tuple[str, str]] = []
    for content in contents:
        row_n = np.flatnonzero(hash_N == content.content_hash)
        row_n = row_n[path_N[row_n] == path_N[row_n[0]]]  # the rows of one of its files
        for file in content.files:
            rows.append(row_n)
            names += [file] * len(row_n)
    if not rows:
        keep_previous(folder, part)
        part.unlink()
        return table.slice(0, 0)
    old, table = table.select(INDEXED_COLUMNS), table.take(np.concatenate(rows))
    if not table.select(INDEXED_COLUMNS).equals(old):
        keep_previous(folder, part)
    for name, values in zip(("path", "label"), zip(*names, strict=True), strict=True):
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    write_parquet(table, part)
    return table
