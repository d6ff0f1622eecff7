"""Embeddings on disk: one Parquet file that pandas, DuckDB and Polars open, and that says which encoder made it."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import DiskError, InputError
from unreel.models.encoder import Encoder
from unreel.types import Embeddings

KEY = b"unreel"
COLUMNS = ("path", "start_s", "end_s", "label", "embedding")


def describe(encoder: Encoder) -> dict[str, Any]:
    """What `write` keeps of an encoder: its spec and a hash, so that vectors of two encoders are never mixed unseen."""
    return {"encoder": encoder.spec.to_json(), "encoder_hash": encoder_hash(encoder)}


def encoder_hash(encoder: Encoder) -> str:
    """SHA-256 of spec and weights, hexadecimal; the same for the same encoder on any device."""
    digest = hashlib.sha256(json.dumps(encoder.spec.to_json(), sort_keys=True).encode())
    for name, tensor in sorted(encoder.backbone.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write(embeddings: Embeddings, path: Path, metadata: dict[str, Any] | None = None) -> None:
    """Write a Parquet file of columns path, start_s, end_s, label and embedding, with `metadata` kept as JSON.

    The file appears whole or not at all. Raises DiskError when it can't be written.
    """
    table = _table(embeddings).replace_schema_metadata({KEY: json.dumps(metadata or {}).encode()})
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, aside, compression="zstd")
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise DiskError(f"{path}: the embeddings can't be written ({error}); free space or change the place") from error


def _table(embeddings: Embeddings) -> pa.Table:
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
    return pa.Table.from_arrays(columns, names=list(COLUMNS))


def read(path: Path) -> Embeddings:
    """Embeddings as they were written. Raises InputError for a file that is missing, damaged or something else."""
    table = _open(path)
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
    )


def read_metadata(path: Path) -> dict[str, Any]:
    """What `write` was told about the encoder; header only. Raises InputError."""
    try:
        return json.loads((pq.read_schema(path).metadata or {}).get(KEY, b"{}"))
    except (OSError, pa.ArrowInvalid, ValueError) as error:
        raise _unreadable(path, error) from error


def _open(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: not embeddings of unreel, it has no column {', '.join(missing)}")
    return table


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: no embeddings to read there ({str(error).splitlines()[0]}); run `unreel embed` first")
