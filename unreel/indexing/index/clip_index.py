"""An index of footage: a store of sliding clips, the encoder that made them, and what finds the nearest of them.

    INDEX/store.json, parts/   the rows (store.py); the only part that can't be made again without decoding
          encoder/             a copy of the encoder, so that a query needs no run
          vectors.npy          all vectors in the order of the parts, to be mapped rather than read
          nearest.faiss        over these vectors (nearest.py)

The last two are made again whenever the rows are others than those they were made of.
"""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, InputError
from unreel.indexing.index.ann_index import AnnIndex
from unreel.indexing.index.ivf import BuildOptions
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.vectors import write_npy
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.embedding_store import read_store_json
from unreel.indexing.store.embeddings_file import (
    CONTENT_HASH,
    hash_encoder,
    list_parquet_files,
    read_parts,
    read_table,
)
from unreel.io.atomic_write import atomic_folder, atomic_path, disk_errors
from unreel.io.checksums import new_digest
from unreel.io.file_lock import is_locked
from unreel.models.encoder.checkpoint_files import read_spec, save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec

ENCODER_FOLDER, VECTORS_NPY, ANN_INDEX_FILE = "encoder", "vectors.npy", "nearest.faiss"
REINDEX_HINT = "run `unreel index` again, which goes on where it stopped"
WAIT_HINT = "it is being indexed just now; ask again when that is done"


@dataclass(frozen=True)
class Index:
    """What a search needs: row n of `rows` has the unit vector `vectors_ND[n]`, its views side by side."""

    folder: Path
    metadata: dict[str, Any]
    rows: RowTable
    vectors_ND: np.ndarray
    ann_index: AnnIndex

    @property
    def views(self) -> tuple[str, ...]:
        """What a vector has side by side: the encoder's different views, or its heads."""
        return EncoderSpec.from_json(self.metadata["encoder"]).part_names

    @property
    def encoder_hash(self) -> str:
        return str(self.metadata["encoder_hash"])

    def get_vectors(self, row_n: np.ndarray) -> np.ndarray:
        """Vectors float32 (n, D) of rows."""
        return np.asarray(self.vectors_ND[row_n], np.float32)


def open_index(folder: str | Path) -> Index:
    """Open the index in a folder. Raises InputError for what is none, half of one, or not up to date with its rows.

    >>> opened = open_index(index)
    >>> opened.vectors_ND.shape[0] == len(opened.rows)
    True
    """
    folder = Path(folder)
    about = read_index_metadata(folder)
    rows, made_of = read_rows(folder)
    try:
        vectors_ND = load_vectors(folder, len(rows))
        nearest = AnnIndex.load(folder / ANN_INDEX_FILE, made_of)
    except InputError as error:
        advice = WAIT_HINT if is_locked(folder) else REINDEX_HINT
        raise InputError(f"{str(error).partition(';')[0]}; {advice}") from error
    return Index(folder, about, rows, vectors_ND, nearest)


def load_vectors(folder: Path, num_rows: int) -> np.ndarray:
    """The vectors of so many rows, mapped, float32 (N, D). Raises InputError."""
    path = folder / VECTORS_NPY
    try:
        vectors_ND: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: half an index, its vectors can't be read ({error}); {REINDEX_HINT}") from error
    if vectors_ND.ndim != 2 or len(vectors_ND) != num_rows:
        raise InputError(
            f"{path}: half an index, {num_rows} rows but vectors of shape {vectors_ND.shape}; {REINDEX_HINT}"
        )
    return vectors_ND


def read_index_metadata(folder: Path) -> dict[str, Any]:
    """store.json of an index. Raises InputError, also for a store whose clips do not slide."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no index there; make one with `unreel index RUN FOLDER --out {folder}`")
    try:
        list_parquet_files(folder)
    except InputError as error:
        why = str(error).partition(";")[0]
        raise InputError(f"{why}; make it, or go on with it, by `unreel index RUN FOLDER --out {folder}`") from error
    about = read_store_json(folder)
    if "hop_s" not in about["clips"]:
        raise InputError(f"{folder}: embeddings that do not cover every moment; make an index with `unreel index`")
    return about


def read_rows(folder: Path) -> tuple[RowTable, str]:
    """Whose rows the parts hold, and what they are known by: the contents and seconds, not where the files lie."""
    columns = ("path", "label", CONTENT_HASH, "start_s", "end_s")
    table = pa.concat_tables([read_table(part, columns) for part in list_parquet_files(folder)])
    start_s, end_s = table["start_s"].to_numpy(), table["end_s"].to_numpy()
    rows = RowTable.from_columns(table["path"], table["label"], table[CONTENT_HASH], start_s, end_s)
    digest = new_digest(" ".join(rows.content_hashes).encode())
    for column_N in (rows.content_N, start_s, end_s):
        digest.update(np.ascontiguousarray(column_N).data)
    return rows, digest.hexdigest()


def refresh_index(folder: Path, encoder: Encoder) -> str:
    """Make of the rows what a search needs, unless it is there; returns it in words. Raises DiskError."""
    rows, made_of = read_rows(folder)
    save_index_encoder(folder, encoder)
    with contextlib.suppress(InputError):
        found = AnnIndex.load(folder / ANN_INDEX_FILE, made_of)
        load_vectors(folder, len(rows))
        return str(found.description)
    (folder / ANN_INDEX_FILE).unlink(missing_ok=True)
    vectors_ND = write_vectors(folder, len(rows))
    options = BuildOptions(num_views=len(encoder.spec.part_names))
    nearest = AnnIndex.build(vectors_ND, options, made_of)
    nearest.save(folder / ANN_INDEX_FILE)
    return str(nearest.description)


def write_vectors(folder: Path, num_rows: int) -> np.ndarray:
    """All vectors of the parts in one file, a part in memory at a time; mapped, float32 (N, D). Raises DiskError."""
    path = folder / VECTORS_NPY
    with disk_errors(path, advice=f"free some space and {REINDEX_HINT}"), atomic_path(path) as temporary:
        write_npy(temporary, num_rows, (part.vectors for part in read_parts(folder)))
    return np.load(path, mmap_mode="r", allow_pickle=False)


def save_index_encoder(folder: Path, encoder: Encoder) -> None:
    """A copy of the encoder in the index, made again where it is not this one. Raises DiskError."""
    with contextlib.suppress(CheckpointError):
        same = read_spec(folder / ENCODER_FOLDER).to_json() == encoder.spec.to_json()  # so its code is running already
        if same and hash_encoder(load_encoder(folder / ENCODER_FOLDER, allow_import=True)) == hash_encoder(encoder):
            return
    path = folder / ENCODER_FOLDER
    advice = f"free some space and {REINDEX_HINT}"
    with disk_errors(path, advice=advice), atomic_folder(path, overwrite=True) as temporary:
        save_encoder(encoder, temporary)


def load_query_encoder(index: Index, allow_import: bool = False) -> Encoder:
    """The encoder of an index, its clips as long as those of the rows. Raises CheckpointError, InputError."""
    try:
        encoder = load_encoder(index.folder / ENCODER_FOLDER, allow_import)
    except CheckpointError as error:
        if "--allow-import" in str(error):
            raise
        raise InputError(
            f"{index.folder / ENCODER_FOLDER}: half an index, its encoder can't be read; {REINDEX_HINT}"
        ) from error
    if hash_encoder(encoder) != index.encoder_hash:
        raise InputError(f"{index.folder / ENCODER_FOLDER}: not the encoder that made these rows; {REINDEX_HINT}")
    encoder.spec = replace(encoder.spec, clip=SlidingWindow(**index.metadata["clips"]).make_clip_spec(encoder))
    return encoder
