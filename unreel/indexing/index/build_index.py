"""Make from the rows of a store what a search needs: a copy of the encoder, all vectors in one file, the index."""

import contextlib
from pathlib import Path

import numpy as np

from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, InputError
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.clip_index import REINDEX_HINT, load_vectors, read_rows
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.score_scale import load_scale, measure_scale
from unreel.indexing.index.vectors import write_npy
from unreel.indexing.store.embeddings_file import list_parquet_files, list_parts, read_parts
from unreel.indexing.store.encoder_hash import hash_encoder
from unreel.indexing.store.file_names import (
    ANN_INDEX_FILE,
    ENCODER_FOLDER,
    PART_WEIGHTS_JSON,
    SCALE_JSON,
    VECTORS_NPY,
)
from unreel.indexing.store.previous_files import keep_previous, remove_previous
from unreel.io.atomic_write import atomic_folder, atomic_path, disk_errors
from unreel.models.encoder.checkpoint_files import read_spec, save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts, load_parts, measure_weights
from unreel.models.encoder.spec import EncoderSpec

NUM_WEIGHED_ROWS = 2048  # rows on which the weights of parts are measured


def refresh_index(folder: Path, encoder: Encoder) -> str:
    """Build the index of a store, unless it is up to date; returns its description. Raises DiskError."""
    rows, fingerprint = read_rows(list_parquet_files(folder))
    save_index_encoder(folder, encoder)
    path, part_names = folder / ANN_INDEX_FILE, tuple(part.name for part in list_parts(folder))
    with contextlib.suppress(InputError):
        ann_index = AnnIndex.load(path, fingerprint)
        if ann_index.description.parts not in ((), part_names):  # the same rows in another part: a lost one made again
            raise InputError(f"{path}: built of other parts", REINDEX_HINT)
        vectors_ND = load_vectors(folder / VECTORS_NPY, ann_index)
        parts = load_parts(folder / PART_WEIGHTS_JSON, encoder.spec, vectors_ND.shape[1])
        if load_scale(folder / SCALE_JSON, fingerprint) is None:  # an index of an earlier version
            measure_scale(vectors_ND, rows, parts, fingerprint).save(folder / SCALE_JSON)
        remove_previous(folder)
        return str(ann_index.description)
    for name in (VECTORS_NPY, PART_WEIGHTS_JSON):
        keep_previous(folder, folder / name)
    vectors_ND, parts = write_vectors(folder, rows, encoder.spec)
    ann_index = AnnIndex.build(vectors_ND, BuildOptions(parts=parts), fingerprint, part_names)
    ann_index.save(path)  # from here on what is searched is the new index
    measure_scale(vectors_ND, rows, parts, fingerprint).save(folder / SCALE_JSON)
    remove_previous(folder)
    return str(ann_index.description)


def write_vectors(folder: Path, rows: RowTable, spec: EncoderSpec) -> tuple[np.ndarray, RowParts]:
    """Write the vectors of all parts to one file, one part in memory at a time; returns a memory map, float32 (N, D),
    and how its rows are made up. Raises DiskError.
    """
    path, row_parts = folder / VECTORS_NPY, choose_row_parts(folder, rows, spec)
    blocks = (row_parts.set_lengths(block.vectors) for block in read_parts(folder))
    with disk_errors(path, advice=f"free some space and {REINDEX_HINT}"), atomic_path(path) as temporary:
        write_npy(temporary, len(rows), blocks)
    return np.load(path, mmap_mode="r", allow_pickle=False), row_parts


def choose_row_parts(folder: Path, rows: RowTable, spec: EncoderSpec) -> RowParts:
    """How the rows of a store are made up. With an image model by the weights that the index has; where it has none, or
    had too few contents to measure any, by new ones, measured on some of its rows and written. Raises DiskError."""
    num_columns = next(read_parts(folder)).vectors.shape[1]
    equal = RowParts.make_equal(spec.part_names, spec.compute_part_widths(num_columns))
    if not equal.has_appearance:
        return equal
    path = folder / PART_WEIGHTS_JSON
    with contextlib.suppress(InputError):
        kept = load_parts(path, spec, num_columns)
        if kept.is_measured:
            return kept
    row_n = np.sort(np.random.default_rng(0).choice(len(rows), min(NUM_WEIGHED_ROWS, len(rows)), replace=False))
    measured = measure_weights(equal, equal.split(read_store_rows(folder, row_n)), rows.content_N[row_n])
    measured.save(path)
    return measured


def read_store_rows(folder: Path, row_n: np.ndarray) -> np.ndarray:
    """Some rows of a store by ascending number, float32 (n, D), one part in memory at a time."""
    chosen, first = [], 0
    for block in read_parts(folder):
        inside_n = row_n[(row_n >= first) & (row_n < first + len(block.vectors))]
        chosen.append(block.vectors[inside_n - first])
        first += len(block.vectors)
    return np.concatenate(chosen)


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
