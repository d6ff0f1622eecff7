"""An index of footage: a store of sliding clips, the encoder that made them, and what finds the nearest of them.

    INDEX/store.json, parts/   the rows (store.py); the only part that can't be made again without decoding
          encoder/             a copy of the encoder, so that a query needs no run
          vectors.npy          all vectors in the order of the parts, to be mapped rather than read
          nearest.faiss        over these vectors (nearest.py)

The last two are made again whenever the rows are others than those they were made of.
"""

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.errors import CheckpointError, DiskError, InputError
from unreel.models.encoder import Encoder, EncoderSpec, load_encoder, read_spec, save_encoder
from unreel.search.clip_choice import EveryMoment
from unreel.search.embeddings import HASH, encoder_hash, files, read_parts, read_table
from unreel.search.inverted import BuildOptions
from unreel.search.nearest import Nearest
from unreel.search.rows import Rows
from unreel.search.store import read_about
from unreel.search.vectors import write_npy
from unreel.training.run import is_written

ENCODER, VECTORS, NEAREST = "encoder", "vectors.npy", "nearest.faiss"
AGAIN = "run `unreel index` again, which goes on where it stopped"
WAIT = "it is being indexed just now; ask again when that is done"


@dataclass(frozen=True)
class Index:
    """What a search needs: row n of `rows` has the unit vector `vectors_ND[n]`, its views side by side."""

    folder: Path
    about: dict[str, Any]
    rows: Rows
    vectors_ND: np.ndarray
    nearest: Nearest

    @property
    def views(self) -> tuple[str, ...]:
        """What a vector has side by side: the encoder's different views, or its heads."""
        return EncoderSpec.from_json(self.about["encoder"]).parts

    @property
    def encoder_hash(self) -> str:
        return str(self.about["encoder_hash"])

    def vectors(self, row_n: np.ndarray) -> np.ndarray:
        """Vectors float32 (n, D) of rows."""
        return np.asarray(self.vectors_ND[row_n], np.float32)


def open_index(folder: str | Path) -> Index:
    """The index in a folder. Raises InputError for what is none, half of one, or not up to date with its rows."""
    folder = Path(folder)
    about = clips_of(folder)
    rows, made_of = read_rows(folder)
    try:
        vectors_ND = load_vectors(folder, len(rows))
        nearest = Nearest.load(folder / NEAREST, made_of)
    except InputError as error:
        advice = WAIT if is_written(folder) else AGAIN
        raise InputError(f"{str(error).partition(';')[0]}; {advice}") from error
    return Index(folder, about, rows, vectors_ND, nearest)


def load_vectors(folder: Path, count: int) -> np.ndarray:
    """The vectors of so many rows, mapped, float32 (N, D). Raises InputError."""
    path = folder / VECTORS
    try:
        vectors_ND: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: half an index, its vectors can't be read ({error}); {AGAIN}") from error
    if vectors_ND.ndim != 2 or len(vectors_ND) != count:
        raise InputError(f"{path}: half an index, {count} rows but vectors of shape {vectors_ND.shape}; {AGAIN}")
    return vectors_ND


def clips_of(folder: Path) -> dict[str, Any]:
    """store.json of an index. Raises InputError, also for a store whose clips do not slide."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no index there; make one with `unreel index RUN FOLDER --out {folder}`")
    try:
        files(folder)
    except InputError as error:
        why = str(error).partition(";")[0]
        raise InputError(f"{why}; make it, or go on with it, by `unreel index RUN FOLDER --out {folder}`") from error
    about = read_about(folder)
    if "hop_s" not in about["clips"]:
        raise InputError(f"{folder}: embeddings that do not cover every moment; make an index with `unreel index`")
    return about


def read_rows(folder: Path) -> tuple[Rows, str]:
    """Whose rows the parts hold, and what they are known by: the contents and seconds, not where the files lie."""
    columns = ("path", "label", HASH, "start_s", "end_s")
    table = pa.concat_tables([read_table(part, columns) for part in files(folder)])
    start_s, end_s = table["start_s"].to_numpy(), table["end_s"].to_numpy()
    rows = Rows.named(table["path"], table["label"], table[HASH], start_s, end_s)
    digest = hashlib.blake2b(" ".join(rows.contents).encode(), digest_size=16)
    for column_N in (rows.content_N, start_s, end_s):
        digest.update(np.ascontiguousarray(column_N).data)
    return rows, digest.hexdigest()


def bring_up_to_date(folder: Path, encoder: Encoder) -> str:
    """Make of the rows what a search needs, unless it is there; returns it in words. Raises DiskError."""
    rows, made_of = read_rows(folder)
    keep_encoder(folder, encoder)
    with contextlib.suppress(InputError):
        found = Nearest.load(folder / NEAREST, made_of)
        load_vectors(folder, len(rows))
        return str(found.description)
    (folder / NEAREST).unlink(missing_ok=True)
    vectors_ND = write_vectors(folder, len(rows))
    options = BuildOptions(views=len(encoder.spec.parts))
    nearest = Nearest.build(vectors_ND, options, made_of)
    nearest.save(folder / NEAREST)
    return str(nearest.description)


def write_vectors(folder: Path, count: int) -> np.ndarray:
    """All vectors of the parts in one file, a part in memory at a time; mapped, float32 (N, D). Raises DiskError."""
    aside = folder / f".{VECTORS}.{os.getpid()}.part"
    try:
        write_npy(aside, count, (part.vectors for part in read_parts(folder)))
        os.replace(aside, folder / VECTORS)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DiskError(f"{folder / VECTORS}: can't be written ({error.strerror}); free space and {AGAIN}") from error
    return np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)


def keep_encoder(folder: Path, encoder: Encoder) -> None:
    """A copy of the encoder in the index, made again where it is not this one. Raises DiskError."""
    with contextlib.suppress(CheckpointError):
        same = read_spec(folder / ENCODER).to_json() == encoder.spec.to_json()  # so its code is running already
        if same and encoder_hash(load_encoder(folder / ENCODER, allow_import=True)) == encoder_hash(encoder):
            return
    aside = folder / f".{ENCODER}.{os.getpid()}.part"
    try:
        aside.mkdir()
        save_encoder(encoder, aside)
        shutil.rmtree(folder / ENCODER, ignore_errors=True)
        aside.rename(folder / ENCODER)
    except OSError as error:
        raise DiskError(f"{folder / ENCODER}: can't be written ({error.strerror}); free space and {AGAIN}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def query_encoder(index: Index, allow_import: bool = False) -> Encoder:
    """The encoder of an index, its clips as long as those of the rows. Raises CheckpointError, InputError."""
    try:
        encoder = load_encoder(index.folder / ENCODER, allow_import)
    except CheckpointError as error:
        if "--allow-import" in str(error):
            raise
        raise InputError(f"{index.folder / ENCODER}: half an index, its encoder can't be read; {AGAIN}") from error
    if encoder_hash(encoder) != index.encoder_hash:
        raise InputError(f"{index.folder / ENCODER}: not the encoder that made these rows; {AGAIN}")
    encoder.spec = replace(encoder.spec, clip=EveryMoment(**index.about["clips"]).spec(encoder))
    return encoder
