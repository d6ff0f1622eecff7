"""Make from the rows of a store what a search needs: a copy of the encoder, all vectors in one file, the index."""

import contextlib
from pathlib import Path

import numpy as np

from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, InputError
from unreel.indexing.index.ann_index import AnnIndex
from unreel.indexing.index.clip_index import REINDEX_HINT, load_vectors, read_rows
from unreel.indexing.index.ivf import BuildOptions
from unreel.indexing.index.score_scale import load_scale, measure_scale
from unreel.indexing.index.vectors import write_npy
from unreel.indexing.store.embeddings_file import read_parts
from unreel.indexing.store.encoder_hash import hash_encoder
from unreel.indexing.store.file_names import ANN_INDEX_FILE, ENCODER_FOLDER, SCALE_JSON, VECTORS_NPY
from unreel.io.atomic_write import atomic_folder, atomic_path, disk_errors
from unreel.models.encoder.checkpoint_files import read_spec, save_encoder
from unreel.models.encoder.encoder import Encoder


def refresh_index(folder: Path, encoder: Encoder) -> str:
    """Build the index of a store, unless it is up to date; returns its description. Raises DiskError."""
    rows, fingerprint = read_rows(folder)
    save_index_encoder(folder, encoder)
    path, views = folder / ANN_INDEX_FILE, encoder.spec.part_names
    with contextlib.suppress(InputError):
        ann_index = AnnIndex.load(path, fingerprint)
        vectors_ND = load_vectors(folder, len(rows))
        if load_scale(folder / SCALE_JSON, fingerprint) is None:  # an index of an earlier version
            measure_scale(vectors_ND, rows, views, fingerprint).save(folder / SCALE_JSON)
        return str(ann_index.description)
    path.unlink(missing_ok=True)
    vectors_ND = write_vectors(folder, len(rows))
    ann_index = AnnIndex.build(vectors_ND, BuildOptions(num_views=len(views)), fingerprint)
    measure_scale(vectors_ND, rows, views, fingerprint).save(folder / SCALE_JSON)
    ann_index.save(path)
    return str(ann_index.description)


def write_vectors(folder: Path, num_rows: int) -> np.ndarray:
    """Write the vectors of all parts to one file, one part in memory at a time; returns a memory map, float32 (N, D).

    Raises DiskError.
    """
    path = folder / VECTORS_NPY
    with disk_errors(path, advice=f"free some space and {REINDEX_HINT}"), atomic_path(path) as temporary:
        write_npy(temporary, num_rows, (part.vectors for part in read_parts(folder)))
    return np.load(path, mmap_mode="r", allow_pickle=False)


def save_index_encoder(folder: Path, encoder: Encoder) -> None:
    """Copy the encoder into the index, unless it is there. Raises DiskError."""
    path = folder / ENCODER_FOLDER
    with contextlib.suppress(CheckpointError):
        same_spec = read_spec(path).to_json() == encoder.spec.to_json()  # its code runs already, so importing is safe
        if same_spec and hash_encoder(load_encoder(path, allow_import=True)) == hash_encoder(encoder):
            return
    advice = f"free some space and {REINDEX_HINT}"
    with disk_errors(path, advice=advice), atomic_folder(path, overwrite=True) as temporary:
        save_encoder(encoder, temporary)
