"""Embeddings on disk: Parquet that pandas, DuckDB and Polars open, and that says which encoder made it.

A file is written here, a folder of them, made in many runs and processes, by store.py; both are read here.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.models.encoder.encoder import Encoder
from unreel.types import Embeddings

METADATA_KEY = b"unreel"
COLUMNS = ("path", "start_s", "end_s", "label", "embedding")
CONTENT_HASH = "content_hash"
STORE_JSON, PARTS_FOLDER = "store.json", "parts"  # of a store


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """What `write` keeps of an encoder: its spec and a hash, so that vectors of two encoders are never mixed unseen."""
    return {"encoder": encoder.spec.to_json(), "encoder_hash": hash_encoder(encoder)}


def hash_encoder(encoder: Encoder) -> str:
    """SHA-256 of spec and weights, hexadecimal; the same for the same encoder on any device."""
    digest = hashlib.sha256(json.dumps(encoder.spec.to_json(), sort_keys=True).encode())
    heads = {} if encoder.heads is None else {f"heads.{n}": t for n, t in encoder.heads.state_dict().items()}
    for name, tensor in sorted((encoder.backbone.state_dict() | heads).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_embeddings(embeddings: Embeddings, path: Path, metadata: dict[str, Any] | None = None) -> None:
    """Write a Parquet file of columns path, start_s, end_s, label and embedding, with `metadata` kept as JSON.

    A column content_hash follows where the embeddings have them. The file appears whole or not at all. Raises DiskError
    when it can't be written.
    """
    write_parquet(
        _to_table(embeddings).replace_schema_metadata({METADATA_KEY: json.dumps(metadata or {}).encode()}), path
    )


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write Parquet with checksums, whole or not at all, so that it outlasts a power cut. Raises DiskError."""
    with disk_errors(path, "the embeddings can't be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        words = ["path", "label", CONTENT_HASH]  # which repeat, as vectors do not
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd", use_dictionary=words, write_page_checksum=True)


def _to_table(embeddings: Embeddings) -> pa.Table:
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
    """Embeddings of a file as they were written, or all of a store (store.py), whose rows know their content hash.

    Raises InputError for a file or folder that is missing, damaged or something else.
    """
    return concatenate(list(read_parts(path)))


def read_parts(path: Path) -> Iterator[Embeddings]:
    """`read` one file at a time, for what need not be in memory at once."""
    for file in list_parquet_files(path):
        yield _from_table(file, read_table(file))


def concatenate(parts: Sequence[Embeddings]) -> Embeddings:
    """All rows of one or more, one after the other."""
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
    """The Parquet files of embeddings: the file itself, or the parts of a store, at least one. Raises InputError."""
    if not path.is_dir():
        return [path]
    if not (path / STORE_JSON).is_file():
        raise InputError(f"{path}: no embeddings to read there (no {STORE_JSON}); run `unreel embed` first")
    parts = sorted((path / PARTS_FOLDER).glob("*.parquet"))
    if not parts:
        raise InputError(f"{path}: no embeddings in it yet; run `unreel embed` again, which goes on with it")
    return parts


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
    """What `write` was told about the encoder; header only. Raises InputError."""
    try:
        return json.loads((pq.read_schema(list_parquet_files(path)[0]).metadata or {}).get(METADATA_KEY, b"{}"))
    except (OSError, pa.ArrowInvalid, ValueError) as error:
        raise _unreadable_error(path, error) from error


def read_table(path: Path, columns: Sequence[str] = ()) -> pa.Table:
    """These columns of a Parquet file of embeddings, or all, once it is known to be one. Raises InputError."""
    try:
        names = pq.read_schema(path).names
        missing = [name for name in columns or COLUMNS if name not in names]
        if not missing:
            return pq.read_table(path, columns=list(columns) or None, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable_error(path, error) from error
    raise InputError(f"{path}: not embeddings of unreel, it has no column {', '.join(missing)}")


def _unreadable_error(path: Path, error: Exception) -> InputError:
    why = str(error).splitlines()[0]
    if path.parent.name == PARTS_FOLDER:
        return InputError(f"{path}: a damaged part ({why}). Remove it, and the command that filled it makes it again")
    return InputError(f"{path}: no embeddings to read there ({why}); run `unreel embed` first")
