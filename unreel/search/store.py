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
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.errors import DiskError, InputError
from unreel.search.embeddings import ABOUT, COLUMNS, HASH, KEY, PARTS, read_table, write_table
from unreel.training.checkpoint import replace_text
from unreel.training.run import LOCK
from unreel.video.known_files import Found

FORMAT = 1
FILES, LEFT_OUT = "files.parquet", "left_out.csv"
OWN = {ABOUT, PARTS, FILES, LEFT_OUT, LOCK, "encoder", "vectors.npy", "nearest.faiss", "concepts"}  # see index.py
PASSING = ("missing", "unreadable")  # reasons that may be another day's weather: tried again
BUSY = (" did not end within ", " MB of memory")  # of a machine that had other work
WHO = ("path", "label", HASH)


@dataclass(frozen=True)
class Content:
    """Bytes that one or more files hold: their hash, and (path, label) of each file, the first of which is decoded."""

    content_hash: str
    files: tuple[tuple[str, str], ...]


def contents(files: Found) -> dict[str, Content]:
    """What the files hold, by hash, in the order of their paths."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(files):
        found.setdefault(files[path].content_hash, []).append((path, files[path].label))
    return {hash_: Content(hash_, tuple(who)) for hash_, who in found.items()}


def open_store(folder: Path, about: dict[str, Any]) -> None:
    """Make a store, or make sure that this one is of the encoder and choice that `about` says. Raises InputError."""
    refuse_other_folder(folder)
    if not (folder / ABOUT).exists():
        (folder / PARTS).mkdir(exist_ok=True)
        replace_text(folder / ABOUT, json.dumps(about, indent=2) + "\n")
        return
    there = read_about(folder)
    if there["encoder_hash"] != about["encoder_hash"]:
        raise InputError(
            f"{folder}: its vectors are of another encoder ({there['encoder_hash'][:12]}, this one is "
            f"{about['encoder_hash'][:12]}). Name the checkpoint that made them, or choose another --out"
        )
    if there["clips"] != about["clips"]:
        raise InputError(
            f"{folder}: its clips were chosen by {spelled_choice(there['clips'])}, these would be by "
            f"{spelled_choice(about['clips'])}. Give the same options, or choose another --out"
        )


def refuse_other_folder(folder: Path) -> None:
    """Raise InputError for a folder that is neither empty nor a whole store."""
    if (folder / ABOUT).exists() or not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file. Give a new folder, or a name that ends in .parquet")
    inside = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if inside - OWN:
        raise InputError(f"{folder} holds other things ({min(inside - OWN)}) and is no store; choose another --out")
    if (folder / PARTS).exists() and any((folder / PARTS).iterdir()):
        raise InputError(f"{folder}: half a store, its {ABOUT} is missing. Put it back, or choose another --out")


def read_about(folder: Path) -> dict[str, Any]:
    """store.json. Raises InputError when it is missing, damaged, or of another version."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
        form = about["format"], about["encoder_hash"], about["clips"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / ABOUT}: not what unreel wrote ({error}); put back a copy of it") from error
    if form[0] != FORMAT:
        raise InputError(
            f"{folder}: a store of format {form[0]}, this unreel reads format {FORMAT}; make it anew in another --out"
        )
    return about


def spelled_choice(choice: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in choice.items())


# --- the parts


def part_files(folder: Path) -> list[Path]:
    return sorted((folder / PARTS).glob("*.parquet"))


def tidy(folder: Path, wanted: dict[str, Content]) -> dict[str, int]:
    """Leave rows of the wanted contents alone, one set for each of their files; returns rows of each content there.

    Parts that are right are not touched, and vectors are only read of those that are not. Raises InputError for a part
    that is damaged or of another encoder, DiskError.
    """
    for left in [*(folder / PARTS).glob(".*.part"), *folder.glob(".*.part")]:  # by a process that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    made_by, there = read_about(folder)["encoder_hash"], dict[str, int]()
    for part in part_files(folder):
        rows = read_table(part, WHO)
        if json.loads((rows.schema.metadata or {}).get(KEY, b"{}")).get("encoder_hash") != made_by:
            raise InputError(f"{part}: a part of another encoder's store; remove it and run the command again")
        have = _counted(rows)
        kept = [wanted[h] for h in dict.fromkeys(h for _, _, h in have) if h in wanted and h not in there]
        if set(have) != {(path, label, c.content_hash) for c in kept for path, label in c.files}:
            have = _counted(_replace(part, kept))
        for (_, _, hash_), count in have.items():
            there[hash_] = there.get(hash_, 0) + count
    return there


def _counted(rows: pa.Table) -> dict[tuple[str, str, str], int]:
    """How many rows each file has: (path, label, content hash), in their order, which grouping alone does not keep."""
    numbered = rows.append_column("row", pa.array(np.arange(len(rows))))
    grouped = numbered.group_by(list(WHO), use_threads=False).aggregate([([], "count_all"), ("row", "min")])
    counted = grouped.sort_by("row_min")
    columns = [counted[name].to_pylist() for name in (*WHO, "count_all")]
    return {(path, label, hash_): count for path, label, hash_, count in zip(*columns, strict=True)}


def _replace(part: Path, kept: list[Content]) -> pa.Table:
    """Write a part anew with the rows of these contents, for each of their files; remove it when there are none."""
    table = read_table(part, (*COLUMNS, HASH))
    path, hash_ = (np.array(table[name].to_pylist(), dtype=object) for name in ("path", HASH))
    taken: list[np.ndarray] = []
    who: list[tuple[str, str]] = []
    for content in kept:
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
    write_table(table, part)
    return table


# --- what is left out


def lasting(reason: str) -> bool:
    """Whether a file would be left out again for this reason, until its content changes."""
    return not reason.startswith(PASSING) and not any(words in reason for words in BUSY)


def note_left_out(folder: Path, process: str, content_hash: str, reason: str) -> None:
    """A process writes down what it could not embed, in a file of its own. Raises DiskError."""
    path = folder / f".left_out-{process}.csv"
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow([content_hash, " ".join(reason.split())])
    except OSError as error:
        raise DiskError(f"{path}: can't be written ({error.strerror}); free space, then run it again") from error


def read_left_out(folder: Path) -> dict[str, str]:
    """Content hash to reason, from the list and from what processes wrote down since."""
    found: dict[str, str] = {}
    with contextlib.suppress(FileNotFoundError), (folder / LEFT_OUT).open(newline="", encoding="utf-8") as file:
        found |= {row[HASH]: row["reason"] for row in csv.DictReader(file) if row.get(HASH) and row.get("reason")}
    for path in folder.glob(".left_out-*.csv"):
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1].splitlines()  # a kill tears the last row
        found |= {row[0]: row[1] for row in csv.reader(whole) if len(row) == 2}
    return found


def write_left_out(folder: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """(path, content hash, reason) of each file, in one piece; what the processes wrote down is then in it."""
    taken = list(folder.glob(".left_out-*.csv"))
    aside = folder / f".{LEFT_OUT}.part"
    try:
        with aside.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(["path", HASH, "reason"])
            csv.writer(file).writerows(rows)
        aside.replace(folder / LEFT_OUT)
        for path in taken:
            path.unlink()
    except OSError as error:
        raise DiskError(f"{folder / LEFT_OUT}: can't be written ({error.strerror})") from error
