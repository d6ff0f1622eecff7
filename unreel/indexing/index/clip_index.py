"""An index of footage: a store of sliding clips, the encoder that made them, and a nearest-neighbour index.

    INDEX/store.json, parts/   the rows (store/embedding_store.py); only these need decoding to be made again
          encoder/             a copy of the encoder, so that a query needs no run
          vectors.npy          all vectors in the order of the parts, read as a memory map
          nearest.faiss        the nearest-neighbour index over them (approximate/)
          scale.json           how like rows are to their neighbours (score_scale.py)
          part_weights.json    how motion and appearance weigh in a row, where it has both (row_parts.py)
          previous/            while an update is not finished, the files of the index before (previous_files.py)

build_index.py makes the last five from the rows, again whenever the rows have changed.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, InputError, NeedsImportError, no_index_error
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.ann_index_file import read_description
from unreel.indexing.index.concept_book import ConceptBook
from unreel.indexing.index.nearest_rows import NearestRows
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.score_scale import ScoreScale, load_scale
from unreel.indexing.index.vectors import hash_vectors
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.embedding_store import STORE_JSON, read_store_json
from unreel.indexing.store.embeddings_file import CONTENT_HASH, list_parquet_files, read_table
from unreel.indexing.store.encoder_hash import hash_encoder
from unreel.indexing.store.file_names import (
    ANN_INDEX_FILE,
    ENCODER_FOLDER,
    FILES_PARQUET,
    PART_WEIGHTS_JSON,
    SCALE_JSON,
    VECTORS_NPY,
)
from unreel.indexing.store.previous_files import find_indexed, has_previous, list_indexed_parts, read_index_id
from unreel.indexing.store.skipped_videos import read_skipped
from unreel.io.checksums import new_digest
from unreel.io.file_lock import is_locked
from unreel.io.text import format_count
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts, load_parts
from unreel.models.encoder.spec import EncoderSpec

REINDEX_HINT = "run `unreel index` again, which continues where it stopped"
WAIT_HINT = "it is being indexed just now; ask again when that is done"


@dataclass(frozen=True)
class Index:
    """An opened index: row n of `rows` has the unit vector `vectors_ND[n]`, its parts side by side.

    Of an index in a database, `folder` has copies of its files, `vectors_ND` and `ann_index` ask the database
    (homes/home_rows.py), and `concept_book` has its concepts; `name` is a short one of its place.
    """

    folder: Path
    metadata: dict[str, Any]
    rows: RowTable
    vectors_ND: np.ndarray
    ann_index: NearestRows
    parts: RowParts
    scale: ScoreScale | None = None
    concept_book: ConceptBook | None = None
    name: str = ""

    @property
    def title(self) -> str:
        """What a page calls it."""
        return self.name or self.folder.resolve().name

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the parts of a vector, in order: the encoder's views, or its heads; and appearance."""
        return self.parts.names

    @property
    def encoder_hash(self) -> str:
        return str(self.metadata["encoder_hash"])

    def get_vectors(self, row_n: np.ndarray) -> np.ndarray:
        """Vectors float32 (n, D) of rows."""
        return np.asarray(self.vectors_ND[row_n], np.float32)


def open_index(folder: str | Path) -> Index:
    """Open the index in a folder.

    Args:
        folder: folder that `unreel index` wrote.

    Returns:
        The index: rows with path and seconds, and their unit vectors float32 (N, D) as a memory map.

    Raises:
        InputError: the index is missing, incomplete or of other rows. While an update of it is not finished, it is as
            it was before, with a warning.

    >>> opened = unreel.open_index(index)
    >>> opened.vectors_ND.shape[0] == len(opened.rows)
    True
    """
    folder = Path(folder)
    index_id = read_index_id(folder)
    try:
        index = _read_index(folder)
    except InputError:
        if read_index_id(folder) == index_id:
            raise
        index = _read_index(folder)  # a new one took its place meanwhile
    if waiting := describe_waiting(folder, index.rows):
        hint = "it is being indexed just now" if is_locked(folder) else REINDEX_HINT
        warnings.warn(f"{folder}: {waiting}; {hint}", RuntimeWarning, stacklevel=2)
    return index


def _read_index(folder: Path) -> Index:
    metadata = read_index_metadata(folder)
    try:
        covered = read_description(folder / ANN_INDEX_FILE).parts
        rows, fingerprint = read_rows(list_indexed_parts(folder, covered))
        ann_index = AnnIndex.load(folder / ANN_INDEX_FILE, fingerprint)
        vectors_ND = load_vectors(find_indexed(folder, folder / VECTORS_NPY), ann_index)
        parts = read_parts_of_index(folder, metadata, vectors_ND.shape[1])
    except InputError as error:
        raise InputError(error.problem, WAIT_HINT if is_locked(folder) else REINDEX_HINT) from error
    return Index(folder, metadata, rows, vectors_ND, ann_index, parts, load_scale(folder / SCALE_JSON, fingerprint))


def describe_waiting(folder: Path, rows: RowTable) -> str:
    """What to say of an update whose changes are not in the index yet; "" for none."""
    if num_waiting := count_waiting(folder, rows):
        return f"{format_count(num_waiting, 'video')} of an update not in the index yet"
    return "an update that took videos away, or copied some, is not in the index yet" if has_previous(folder) else ""


def count_waiting(folder: Path, rows: RowTable) -> int:
    """How many contents among the files of an index have no rows in it, and were not left out with a reason."""
    try:
        hashes = set(pq.read_table(folder / FILES_PARQUET, columns=[CONTENT_HASH])[CONTENT_HASH].to_pylist())
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return 0  # `unreel index` says what is wrong with it
    return len(hashes - set(rows.content_hashes) - set(read_skipped(folder)))


def read_parts_of_index(folder: Path, metadata: dict[str, Any], num_columns: int) -> RowParts:
    """How the rows of an index are made up. Raises InputError."""
    try:
        spec = EncoderSpec.from_json(metadata["encoder"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{folder / STORE_JSON}: its encoder can't be read ({error})", REINDEX_HINT) from error
    return load_parts(find_indexed(folder, folder / PART_WEIGHTS_JSON), spec, num_columns)


def load_vectors(path: Path, ann_index: AnnIndex) -> np.ndarray:
    """The vectors that an index was built of, as a memory map, float32 (N, D). Raises InputError for others.

    The file may have more rows at its end: those of an update that did not reach the index.
    """
    try:
        vectors_ND: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: half an index, its vectors can't be read ({error})", REINDEX_HINT) from error
    num_rows, dim = ann_index.description.rows, ann_index.description.dim
    if vectors_ND.dtype != np.float32 or vectors_ND.shape[1:] != (dim,) or len(vectors_ND) < num_rows:
        found = f"{vectors_ND.dtype} vectors of shape {vectors_ND.shape}"
        raise InputError(f"{path}: half an index, {num_rows} rows of {dim} numbers but {found}", REINDEX_HINT)
    vectors_ND = vectors_ND[:num_rows]
    if ann_index.description.vectors_hash not in ("", hash_vectors(vectors_ND)):
        raise InputError(f"{path}: damaged, or of another index: its checksum differs", REINDEX_HINT)
    ann_index.use_vectors(vectors_ND)
    return vectors_ND


def read_index_metadata(folder: Path) -> dict[str, Any]:
    """store.json of an index. Raises InputError, also for a store whose clips do not slide."""
    if not folder.is_dir():
        raise no_index_error(folder)
    try:
        if not has_previous(folder):
            list_parquet_files(folder)
    except InputError as error:
        advice = f"make it, or continue it, by `unreel index RUN FOLDER --out {folder}`"
        raise InputError(error.problem, advice) from error
    metadata = read_store_json(folder)
    if not SlidingWindow.is_json(metadata["clips"]):
        raise InputError(f"{folder}: embeddings that do not cover every moment", "make an index with `unreel index`")
    return metadata


def read_rows(parts: Sequence[Path]) -> tuple[RowTable, str]:
    """The rows of some parts and their fingerprint: of contents and seconds, not of where the files lie.

    Raises InputError.
    """
    columns = ("path", "label", CONTENT_HASH, "start_s", "end_s")
    if not parts:
        raise InputError("the parts that the index was built of are gone", REINDEX_HINT)
    table = pa.concat_tables([read_table(part, columns) for part in parts])
    start_s, end_s = table["start_s"].to_numpy(), table["end_s"].to_numpy()
    rows = RowTable.from_columns(table["path"], table["label"], table[CONTENT_HASH], start_s, end_s)
    digest = new_digest(" ".join(rows.content_hashes).encode())
    for column_N in (rows.content_N, start_s, end_s):
        digest.update(np.ascontiguousarray(column_N).data)
    return rows, digest.hexdigest()


def load_query_encoder(folder: Path, metadata: dict[str, Any], allow_import: bool = False) -> Encoder:
    """The encoder of the index in a folder, its clips as long as those of the rows.

    Raises NeedsImportError for a network outside unreel, InputError for an encoder that is damaged or another one.
    """
    path = folder / ENCODER_FOLDER
    try:
        encoder = load_encoder(path, allow_import)
    except NeedsImportError:
        raise
    except CheckpointError as error:
        raise InputError(f"{path}: half an index, its encoder can't be read ({error})", REINDEX_HINT) from error
    if hash_encoder(encoder) != metadata["encoder_hash"]:
        raise InputError(f"{path}: not the encoder that made these rows", REINDEX_HINT)
    encoder.spec = replace(encoder.spec, clip=SlidingWindow(**metadata["clips"]).make_clip_spec(encoder))
    return encoder
