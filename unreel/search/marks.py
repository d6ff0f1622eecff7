"""What was marked for a concept, kept as moments rather than row numbers, which a new indexing changes.

INDEX/concepts/NAME.csv    video, start_s, end_s, mark (yes or no)
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.search.concept import Marks
from unreel.search.rows import Rows, Stretch
from unreel.search.sorting import write_csv

COLUMNS = ("video", "start_s", "end_s", "mark")


def save_marks(path: Path, rows: Rows, marks: Marks) -> None:
    """Whole or not at all. Raises DiskError."""
    marked = [(row, name) for name, row_n in (("yes", marks.yes), ("no", marks.no)) for row in sorted(set(row_n))]
    table = ([rows.path(r), f"{rows.start_s[r]:.3f}", f"{rows.end_s[r]:.3f}", name] for r, name in marked)
    write_csv(path, COLUMNS, table)


def load_marks(path: Path, rows: Rows) -> tuple[Marks, int]:
    """The marks of a concept as rows, and how many are of moments that the index no longer has.

    None where there is no such file. Raises InputError for one that is damaged.
    """
    if not path.is_file():
        return Marks(()), 0
    row_of = {(rows.path(n), f"{rows.start_s[n]:.3f}", f"{rows.end_s[n]:.3f}"): n for n in range(len(rows))}
    found: dict[str, list[int]] = {"yes": [], "no": []}
    lost = 0
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for line in csv.DictReader(file):
                row = row_of.get((line["video"], line["start_s"], line["end_s"]))
                into = found[line["mark"]]
                if row is None:
                    lost += 1
                else:
                    into.append(row)
    except (OSError, KeyError, csv.Error) as error:
        raise InputError(f"{path}: the marks can't be read ({error}); put it right, or begin with --forget") from error
    return Marks(tuple(found["yes"]), tuple(found["no"])), lost


def joined_marks(old: Marks, new: Marks) -> Marks:
    """Both; of a row with two marks the new one counts."""
    yes = (set(old.yes) - set(new.no)) | set(new.yes)
    no = (set(old.no) - set(new.yes)) | set(new.no)
    return Marks(tuple(sorted(yes)), tuple(sorted(no)))


def rows_within(rows: Rows, moments: Sequence[Stretch]) -> tuple[int, ...]:
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
