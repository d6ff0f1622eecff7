"""A store of embeddings: a folder that many runs, processes and machines fill, and that a kill does not spoil.

    STORE/store.json       which encoder, and how clips are chosen; all rows are alike in both
          parts/*.parquet  the rows, as `embeddings.write` writes them and with a column content_hash; whole videos only
          files.parquet    the files, each with the hash of its content and the source that brought it (known_files.py)
          left_out.csv     what could not be embedded and why; not tried again before its content changes
          lock             held by the command that writes

A content is embedded once and stands in one part, where each of its files has rows. So what changes among the files is
put right part by part: `tidy` needs no second copy, and stopped half-way it is simply done again. A part is replaced
whole, never changed. What is missing is what `files.parquet` has and no part.
"""

import contextlib
import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.corpus.file_tracker import FileRecords
from unreel.errors import InputError
from unreel.indexing.store.embeddings_file import (
    COLUMNS,
    CONTENT_HASH,
    METADATA_KEY,
    PARTS_FOLDER,
    STORE_JSON,
    read_table,
    write_parquet,
)
from unreel.io.atomic_write import atomic_path, atomic_write_text, disk_errors, remove_leftovers
from unreel.io.file_lock import LOCK_FILE
from unreel.io.limits import is_overload
from unreel.types import FileFailure

FORMAT_VERSION = 1
FILES_PARQUET, LEFT_OUT_CSV = "files.parquet", "left_out.csv"
STORE_ENTRIES = {
    STORE_JSON,
    PARTS_FOLDER,
    FILES_PARQUET,
    LEFT_OUT_CSV,
    LOCK_FILE,
    "encoder",
    "vectors.npy",
    "nearest.faiss",
    "concepts",
}  # see index.py
TRANSIENT_REASONS = ("missing", "unreadable")  # reasons that may be another day's weather: tried again
FILE_COLUMNS = ("path", "label", CONTENT_HASH)


@dataclass(frozen=True)
class Content:
    """Bytes that one or more files hold: their hash, and (path, label) of each file, the first of which is decoded."""

    content_hash: str
    files: tuple[tuple[str, str], ...]


def group_by_content(files: FileRecords) -> dict[str, Content]:
    """What the files hold, by hash, in the order of their paths."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(files):
        found.setdefault(files[path].content_hash, []).append((path, files[path].label))
    return {hash_: Content(hash_, tuple(who)) for hash_, who in found.items()}


def open_store(folder: Path, metadata: dict[str, Any]) -> None:
    """Make a store, or make sure that this one is of the encoder and choice that `about` says. Raises InputError."""
    require_store_folder(folder)
    if not (folder / STORE_JSON).exists():
        (folder / PARTS_FOLDER).mkdir(exist_ok=True)
        atomic_write_text(folder / STORE_JSON, json.dumps(metadata, indent=2) + "\n")
        return
    there = read_store_json(folder)
    if there["encoder_hash"] != metadata["encoder_hash"]:
        raise InputError(
            f"{folder}: its vectors are of another encoder ({there['encoder_hash'][:12]}, this one is "
            f"{metadata['encoder_hash'][:12]}). Name the checkpoint that made them, or choose another --out"
        )
    if there["clips"] != metadata["clips"]:
        raise InputError(
            f"{folder}: its clips were chosen by {format_clip_sampling(there['clips'])}, these would be by "
            f"{format_clip_sampling(metadata['clips'])}. Give the same options, or choose another --out"
        )


def require_store_folder(folder: Path) -> None:
    """Raise InputError for a folder that is neither empty nor a whole store."""
    if (folder / STORE_JSON).exists() or not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file. Give a new folder, or a name that ends in .parquet")
    inside = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if inside - STORE_ENTRIES:
        raise InputError(
            f"{folder} holds other things ({min(inside - STORE_ENTRIES)}) and is no store; choose another --out"
        )
    if (folder / PARTS_FOLDER).exists() and any((folder / PARTS_FOLDER).iterdir()):
        raise InputError(f"{folder}: half a store, its {STORE_JSON} is missing. Put it back, or choose another --out")


def read_store_json(folder: Path) -> dict[str, Any]:
    """store.json. Raises InputError when it is missing, damaged, or of another version."""
    try:
        about: dict[str, Any] = json.loads((folder / STORE_JSON).read_text())
        form = about["format"], about["encoder_hash"], about["clips"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / STORE_JSON}: not what unreel wrote ({error}); put back a copy of it") from error
    if form[0] != FORMAT_VERSION:
        raise InputError(
            f"{folder}: a store of format {form[0]}, this unreel reads format {FORMAT_VERSION}; make it anew in another --out"
        )
    return about


def format_clip_sampling(clip_sampling: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in clip_sampling.items())


# --- the parts


def list_parts(folder: Path) -> list[Path]:
    return sorted((folder / PARTS_FOLDER).glob("*.parquet"))


def reconcile_parts(folder: Path, contents: dict[str, Content]) -> dict[str, int]:
    """Leave rows of the wanted contents alone, one set for each of their files; returns rows of each content there.

    Parts that are right are not touched, and vectors are only read of those that are not. Raises InputError for a part
    that is damaged or of another encoder, DiskError.
    """
    remove_leftovers(folder / PARTS_FOLDER)
    remove_leftovers(folder)
    made_by, there = read_store_json(folder)["encoder_hash"], dict[str, int]()
    for part in list_parts(folder):
        rows = read_table(part, FILE_COLUMNS)
        if json.loads((rows.schema.metadata or {}).get(METADATA_KEY, b"{}")).get("encoder_hash") != made_by:
            raise InputError(f"{part}: a part of another encoder's store; remove it and run the command again")
        have = _count_rows_by_file(rows)
        kept = [contents[h] for h in dict.fromkeys(h for _, _, h in have) if h in contents and h not in there]
        if set(have) != {(path, label, c.content_hash) for c in kept for path, label in c.files}:
            have = _count_rows_by_file(_rewrite_part(part, kept))
        for (_, _, hash_), count in have.items():
            there[hash_] = there.get(hash_, 0) + count
    return there


def _count_rows_by_file(rows: pa.Table) -> dict[tuple[str, str, str], int]:
    """How many rows each file has: (path, label, content hash), in their order, which grouping alone does not keep."""
    numbered = rows.append_column("row", pa.array(np.arange(len(rows))))
    grouped = numbered.group_by(list(FILE_COLUMNS), use_threads=False).aggregate([([], "count_all"), ("row", "min")])
    counted = grouped.sort_by("row_min")
    columns = [counted[name].to_pylist() for name in (*FILE_COLUMNS, "count_all")]
    return {(path, label, hash_): count for path, label, hash_, count in zip(*columns, strict=True)}


def _rewrite_part(part: Path, contents: list[Content]) -> pa.Table:
    """Write a part anew with the rows of these contents, for each of their files; remove it when there are none."""
    table = read_table(part, (*COLUMNS, CONTENT_HASH))
    path, hash_ = (np.array(table[name].to_pylist(), dtype=object) for name in ("path", CONTENT_HASH))
    taken: list[np.ndarray] = []
    who: list[tuple[str, str]] = []
    for content in contents:
        of_it = np.flatnonzero(hash_ == content.content_hash)
        once = of_it[path[of_it] == path[of_it[0]]]
        for file in content.files:
            taken.append(once)
            who += [file] * len(once)
    if not taken:
        part.unlink()
        return table.slice(0, 0)
    table = table.take(np.concatenate(taken))
    for name, values in zip(("path", "label"), zip(*who, strict=True), strict=True):
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    write_parquet(table, part)
    return table


# --- what is left out


def is_permanent(failure: FileFailure) -> bool:
    """Whether a file would be left out again for the same reason, until its content changes."""
    return failure.reason not in TRANSIENT_REASONS and not is_overload(failure.detail)


def record_skipped(folder: Path, process: str, content_hash: str, failure: FileFailure) -> None:
    """A process writes down what it could not embed, in a file of its own. Raises DiskError."""
    path = folder / f".left_out-{process}.csv"
    with (
        disk_errors(path, advice="free some space, then run it again"),
        path.open("a", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file, lineterminator="\n").writerow([content_hash, " ".join(str(failure).split())])


def read_skipped(folder: Path) -> dict[str, FileFailure]:
    """Content hash to failure, its path empty, from the list and from what processes wrote down since."""
    found: dict[str, FileFailure] = {}
    with contextlib.suppress(FileNotFoundError), (folder / LEFT_OUT_CSV).open(newline="", encoding="utf-8") as file:
        found |= {
            row[CONTENT_HASH]: FileFailure.parse("", row["reason"])
            for row in csv.DictReader(file)
            if row.get(CONTENT_HASH) and row.get("reason")
        }
    for path in folder.glob(".left_out-*.csv"):
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1].splitlines()  # a kill tears the last row
        found |= {row[0]: FileFailure.parse("", row[1]) for row in csv.reader(whole) if len(row) == 2}
    return found


def write_skipped(folder: Path, rows: Iterable[tuple[str, FileFailure]]) -> None:
    """(content hash, failure) of each file, in one piece; what the processes wrote down is then in it."""
    taken = list(folder.glob(".left_out-*.csv"))
    with disk_errors(folder / LEFT_OUT_CSV):
        with (
            atomic_path(folder / LEFT_OUT_CSV) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerow(["path", CONTENT_HASH, "reason"])
            csv.writer(file).writerows([failure.path, content_hash, str(failure)] for content_hash, failure in rows)
        for path in taken:
            path.unlink()
