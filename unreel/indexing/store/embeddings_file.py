"""Embeddings as Parquet, which pandas, DuckDB and Polars open, with the encoder in its metadata.

Reads single files and the parts of a store; embedding_store.py says how a store is laid out.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import InputError, NonFiniteError
from unreel.indexing.store.file_names import PARTS_FOLDER, STORE_JSON
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.text import parse_json
from unreel.types import Embeddings

METADATA_KEY = b"unreel"
COLUMNS = ("path", "start_s", "end_s", "label", "embedding")
CONTENT_HASH = "content_hash"
REPEATED_COLUMNS = ["path", "label", CONTENT_HASH]  # stored with a dictionary


def write_embeddings(embeddings: Embeddings, path: Path, metadata: dict[str, Any] | None = None) -> None:
    """Write a Parquet file of columns path, start_s, end_s, label and embedding, with `metadata` as JSON in its header.

    A column content_hash is added when the embeddings have hashes. Raises DiskError, NonFiniteError.
    """
    table = embeddings_to_table(embeddings)
    wrong = np.flatnonzero(~np.isfinite(embeddings.vectors).all(axis=1)).tolist()
    if wrong:
        raise NonFiniteError(f"{embeddings.paths[wrong[0]]}: its vectors are not finite; use another checkpoint")
    write_parquet(table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata or {}).encode()}), path)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write Parquet with checksums, whole or not at all, also after a power cut. Raises DiskError."""
    with disk_errors(path, "the embeddings can't be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            pq.write_table(
                table, temporary, compression="zstd", use_dictionary=REPEATED_COLUMNS, write_page_checksum=True
            )


def embeddings_to_table(embeddings: Embeddings) -> pa.Table:
    """The columns of a part. Raises InputError where there are more or fewer vectors than paths."""
    count = len(embeddings)
    vectors = np.ascontiguousarray(embeddings.vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != count:
        raise InputError(f"{count} paths but vectors of shape {vectors.shape}; each row needs a path")
    columns = [
        pa.array(embeddings.paths, pa.string()),
        pa.array(np.asarray(embeddings.start_s, dtype=np.float64)),
        pa.array(np.asarray(embeddings.end_s, dtype=np.float64)),
        pa.array(embeddings.labels or [""] * count, pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), max(1, vectors.shape[1])),
    ]
    table = pa.Table.from_arrays(columns, names=list(COLUMNS))
    if embeddings.content_hashes:
        table = table.append_column(CONTENT_HASH, pa.array(embeddings.content_hashes, pa.string()))
    return table


def read_embeddings(path: Path) -> Embeddings:
    """The embeddings of a file, or of a store, whose rows have content hashes too.

    Raises InputError for a file or folder that is missing, damaged or something else.
    """
    return concatenate(list(read_parts(path)))


def read_parts(path: Path) -> Iterator[Embeddings]:
    """`read_embeddings` one file at a time, when not all need be in memory at once."""
    for file in list_parquet_files(path):
        yield _from_table(file, read_table(file))


def concatenate(parts: Sequence[Embeddings]) -> Embeddings:
    """All rows, in the order of the parts."""
    if len(parts) == 1:
        return parts[0]
    return Embeddings(
        vectors=np.concatenate([part.vectors for part in parts]),
        paths=[row for part in parts for row in part.paths],
        start_s=np.concatenate([part.start_s for part in parts]),
        end_s=np.concatenate([part.end_s for part in parts]),
        labels=[row for part in parts for row in part.labels],
        content_hashes=[row for part in parts for row in part.content_hashes],
    )


def list_parquet_files(path: Path) -> list[Path]:
    """The file itself, or the parts of a store. Raises InputError for a folder without parts."""
    if not path.is_dir():
        return [path]
    if not (path / STORE_JSON).is_file():
        raise InputError(f"{path}: no embeddings to read there (no {STORE_JSON})", "run `unreel embed` first")
    parts = list_parts(path)
    if not parts:
        raise InputError(f"{path}: no embeddings in it yet", "run `unreel embed` again, which continues")
    return parts


def list_parts(folder: Path) -> list[Path]:
    """The Parquet files of a store, in the order of its rows."""
    return sorted((folder / PARTS_FOLDER).glob("*.parquet"))


def _from_table(path: Path, table: pa.Table) -> Embeddings:
    embedding = table["embedding"].combine_chunks()
    if not pa.types.is_fixed_size_list(embedding.type):
        raise InputError(f"{path}: its embedding column is {embedding.type}, not vectors of one length")
    flat = embedding.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return Embeddings(
        vectors=flat.reshape(len(table), embedding.type.list_size),
        paths=table["path"].to_pylist(),
        start_s=table["start_s"].to_numpy(),
        end_s=table["end_s"].to_numpy(),
        labels=table["label"].to_pylist(),
        content_hashes=table[CONTENT_HASH].to_pylist() if CONTENT_HASH in table.column_names else [],
    )


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata given to `write_embeddings`; reads the header only. Raises InputError."""
    try:
        return parse_json((pq.read_schema(list_parquet_files(path)[0]).metadata or {}).get(METADATA_KEY, b"{}"))
    except (OSError, pa.ArrowInvalid, ValueError) as error:
        raise _unreadable_error(path, error) from error


def read_table(path: Path, columns: Sequence[str] = ()) -> pa.Table:
    """These columns, or all, of a Parquet file of embeddings. Raises InputError."""
    try:
        names = pq.read_schema(path).names
        missing = [name for name in columns or COLUMNS if name not in names]
        if not missing:
            return pq.read_table(path, columns=list(columns) or None, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable_error(path, error) from error
    raise InputError(f"{path}: not embeddings of unreel, it has no column {', '.join(missing)}")


def _unreadable_error(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    if path.parent.name == PARTS_FOLDER:
        return InputError(
            f"{path}: a damaged part ({reason}). Remove it, then run the command that filled the store again"
        )
    return InputError(f"{path}: no embeddings to read there ({reason}); run `unreel embed` first")
