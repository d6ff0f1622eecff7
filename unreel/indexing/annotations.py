"""What was marked for a concept, kept as moments rather than row numbers, which a new indexing changes.

INDEX/concepts/NAME.csv    video, start_s, end_s, mark (yes or no), content_hash

A moment is known by the content of its file, so marks follow a file that was moved and leave one that was replaced.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.indexing.concept import Annotations
from unreel.indexing.index.row_table import Moment, RowTable
from unreel.io.atomic_write import atomic_write_csv

COLUMNS = ("video", "start_s", "end_s", "mark", "content_hash")
MomentKey = tuple[str, str, str, str]  # path, content hash, start_s, end_s; a path or a hash may be left open with ""


def save_annotations(path: Path, rows: RowTable, annotations: Annotations) -> None:
    """Whole or not at all. Raises DiskError."""
    marked = [
        (row, name)
        for name, row_n in (("yes", annotations.positives), ("no", annotations.negatives))
        for row in sorted(set(row_n))
    ]
    table = (
        [rows.get_path(r), *_format_span(rows, r), name, rows.content_hashes[rows.content_N[r]]] for r, name in marked
    )
    atomic_write_csv(path, COLUMNS, table)


def load_annotations(path: Path, rows: RowTable) -> tuple[Annotations, int]:
    """The marks of a concept as rows, and how many are of moments that the index no longer has.

    None where there is no such file. One without hashes, as they were at first, goes by paths. Raises InputError for
    one that is damaged.
    """
    if not path.is_file():
        return Annotations(()), 0
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            lines = [(_make_keys(line), ("no", "yes").index(line["mark"])) for line in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: the marks can't be read ({error}); put it right, or begin with --forget") from error
    row_of = _find_rows_by_key(rows, [key for keys, _ in lines for key in keys])
    said: dict[int, int] = {}
    lost = 0
    for keys, is_yes in lines:
        row = next((row_of[key] for key in keys if key in row_of), None)
        if row is None:
            lost += 1
        else:
            said[row] = is_yes
    return Annotations(*(tuple(row for row, is_yes in said.items() if is_yes == kind) for kind in (1, 0))), lost


def _make_keys(line: dict[str, str]) -> tuple[MomentKey, ...]:
    """By what a marked moment is looked up, one after the other: in its file, else in any file of the same content."""
    path, hash_, span = line["video"], line.get("content_hash") or "", (line["start_s"], line["end_s"])
    return ((path, hash_, *span), ("", hash_, *span)) if hash_ else ((path, "", *span),)


def _find_rows_by_key(rows: RowTable, keys: Sequence[MomentKey]) -> dict[MomentKey, int]:
    """The first row of each key that one has; only rows of files and contents that are named are looked at."""
    paths, hashes = {key[0] for key in keys}, {key[1] for key in keys}
    path_n = [n for n, path in enumerate(rows.paths) if path in paths]
    content_n = [n for n, hash_ in enumerate(rows.content_hashes) if hash_ in hashes]
    row_of: dict[MomentKey, int] = {}
    for row in np.flatnonzero(np.isin(rows.path_N, path_n) | np.isin(rows.content_N, content_n)).tolist():
        path, hash_ = rows.get_path(row), rows.content_hashes[rows.content_N[row]]
        for who in ((path, hash_), ("", hash_), (path, "")):
            row_of.setdefault((*who, *_format_span(rows, row)), row)
    return row_of


def _format_span(rows: RowTable, row: int) -> tuple[str, str]:
    return f"{rows.start_s[row]:.3f}", f"{rows.end_s[row]:.3f}"


def merge_annotations(old: Annotations, new: Annotations) -> Annotations:
    """Both; of a row with two marks the new one counts."""
    yes = (set(old.positives) - set(new.negatives)) | set(new.positives)
    no = (set(old.negatives) - set(new.positives)) | set(new.negatives)
    return Annotations(tuple(sorted(yes)), tuple(sorted(no)))


def find_rows_in_moments(rows: RowTable, moments: Sequence[Moment]) -> tuple[int, ...]:
    """Rows whose middle lies in one of the moments, and for a moment shorter than that the row that overlaps it most.

    Raises InputError for a moment that the index does not have.
    """
    found: list[int] = []
    for moment in moments:
        if moment.path not in rows.paths:
            raise InputError(f"{moment.path} is not in the index; index it too, or mark rows of `unreel search --json`")
        of_it = np.flatnonzero(rows.path_N == rows.paths.index(moment.path))
        middle_s = (rows.start_s[of_it] + rows.end_s[of_it]) / 2
        inside = of_it[(middle_s >= moment.start_s) & (middle_s <= moment.end_s)]
        if not len(inside):
            overlap_s = np.minimum(rows.end_s[of_it], moment.end_s) - np.maximum(rows.start_s[of_it], moment.start_s)
            if overlap_s.max() <= 0:
                raise InputError(f"{moment.path}: it has no clip from {moment.start_s:g} s to {moment.end_s:g} s")
            inside = of_it[[int(overlap_s.argmax())]]
        found += inside.tolist()
    return tuple(found)
