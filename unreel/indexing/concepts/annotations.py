"""Clips marked yes or no for a concept, stored as moments, since row numbers change when footage is indexed again.

INDEX/concepts/NAME.csv    video, start_s, end_s, mark (yes or no), content_hash

A moment is identified by the content of its file, so marks follow a file that moves and leave one that is replaced.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError
from unreel.indexing.index.concept_book import MarkLine
from unreel.indexing.index.row_table import RowTable, format_moment
from unreel.io.atomic_write import atomic_write_csv
from unreel.types import Moment
from unreel.video.sources.paths import absolute_path

MomentKey = tuple[str, str, str, str]  # path, content hash, start_s, end_s; path or hash may be "", for any


@dataclass(frozen=True)
class Annotations:
    """Rows marked yes (the concept) and rows marked no."""

    positives: tuple[int, ...]
    negatives: tuple[int, ...] = ()


@dataclass(frozen=True)
class MarkedMoments:
    """What a person marks: rows of the index, and moments of its videos.

    Args:
        rows: numbers of rows of the index.
        moments: intervals of videos of the index, in seconds; the clips whose middle lies inside are marked.

    >>> unreel.MarkedMoments(rows=(0, 7)).rows
    (0, 7)
    """

    rows: tuple[int, ...] = ()
    moments: tuple[Moment, ...] = ()


def save_annotations(path: Path, rows: RowTable, annotations: Annotations) -> None:
    """Write the CSV, whole or not at all. Raises DiskError."""
    write_mark_lines(path, list_mark_lines(rows, annotations))


def load_annotations(path: Path, rows: RowTable) -> tuple[Annotations, int]:
    """The annotations of a concept, none where the file is missing, and the number of moments no longer indexed.

    Raises InputError for a damaged file.
    """
    return find_marked_rows(read_mark_lines(path), rows)


def list_mark_lines(rows: RowTable, annotations: Annotations) -> list[MarkLine]:
    """The marked rows as moments."""
    marks = [(row, "yes") for row in sorted(set(annotations.positives))]
    marks += [(row, "no") for row in sorted(set(annotations.negatives))]
    return [
        MarkLine(rows.get_path(row), *_format_span(rows, row), mark, rows.content_hashes[rows.content_N[row]])
        for row, mark in marks
    ]


def find_marked_rows(marks: Sequence[MarkLine], rows: RowTable) -> tuple[Annotations, int]:
    """The rows of marked moments, and the number of moments that the index does not have."""
    row_by_key = _find_rows_by_key(rows, [key for mark in marks for key in _make_keys(mark)])
    is_yes_by_row: dict[int, bool] = {}
    num_lost = 0
    for mark in marks:
        row = next((row_by_key[key] for key in _make_keys(mark) if key in row_by_key), None)
        if row is None:
            num_lost += 1
        else:
            is_yes_by_row[row] = mark.mark == "yes"
    positives, negatives = (
        tuple(sorted(r for r, is_yes in is_yes_by_row.items() if is_yes == kind)) for kind in (True, False)
    )
    return Annotations(positives, negatives), num_lost


def write_mark_lines(path: Path, marks: Sequence[MarkLine]) -> None:
    """Write the CSV, whole or not at all. Raises DiskError."""
    atomic_write_csv(path, MarkLine._fields, marks)


def read_mark_lines(path: Path) -> list[MarkLine]:
    """The lines of the CSV, none where it is missing. Raises InputError for a damaged file.

    Files of earlier versions have no hashes; their moments are identified by path.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            lines = csv.DictReader(file)
            if not set(MarkLine._fields[:4]) <= set(lines.fieldnames or ()):
                raise ValueError(f"its first line is not {','.join(MarkLine._fields)}")
            return [_parse_line(line, lines.line_num) for line in lines]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: the marks can't be read ({error}); correct it, or begin with --forget") from error


def _parse_line(line: dict[str, str], line_number: int) -> MarkLine:
    """Raises ValueError for a mark that is neither yes nor no."""
    if line["mark"] not in ("no", "yes"):
        raise ValueError(f"line {line_number}: a mark is yes or no, not {line['mark']!r}")
    return MarkLine(*(line.get(name) or "" for name in MarkLine._fields))


def _make_keys(mark: MarkLine) -> tuple[MomentKey, ...]:
    """Keys to look a marked moment up by, in this order: in its file, then in any file of the same content."""
    path, hash_, span = mark.video, mark.content_hash, (mark.start_s, mark.end_s)
    return ((path, hash_, *span), ("", hash_, *span)) if hash_ else ((path, "", *span),)


def _find_rows_by_key(rows: RowTable, keys: Sequence[MomentKey]) -> dict[MomentKey, int]:
    """The first row of each key; looks only at rows of the paths and contents among the keys."""
    paths, hashes = {key[0] for key in keys}, {key[1] for key in keys}
    path_n = [n for n, path in enumerate(rows.paths) if path in paths]
    content_n = [n for n, hash_ in enumerate(rows.content_hashes) if hash_ in hashes]
    row_by_key: dict[MomentKey, int] = {}
    for row in np.flatnonzero(np.isin(rows.path_N, path_n) | np.isin(rows.content_N, content_n)).tolist():
        path, hash_ = rows.get_path(row), rows.content_hashes[rows.content_N[row]]
        for file in ((path, hash_), ("", hash_), (path, "")):
            row_by_key.setdefault((*file, *_format_span(rows, row)), row)
    return row_by_key


def _format_span(rows: RowTable, row: int) -> tuple[str, str]:
    _, start_s, end_s = format_moment(rows.get_moment(row))
    return start_s, end_s


def merge_annotations(old: Annotations, new: Annotations) -> Annotations:
    """Both together; for a row in both, the new mark counts."""
    yes = (set(old.positives) - set(new.negatives)) | set(new.positives)
    no = (set(old.negatives) - set(new.positives)) | set(new.negatives)
    return Annotations(tuple(sorted(yes)), tuple(sorted(no)))


def find_rows_in_moments(rows: RowTable, moments: Sequence[Moment]) -> tuple[int, ...]:
    """Rows whose middle lies in one of the moments; for a moment shorter than a clip, the row that overlaps it most.

    Raises InputError for a moment that the index does not have.
    """
    row_numbers: list[int] = []
    for moment in moments:
        path = moment.path if moment.path in rows.paths else absolute_path(moment.path)
        if path not in rows.paths:
            raise InputError(f"{moment.path} is not in the index; index it too, or mark rows of `unreel search`")
        row_n = np.flatnonzero(rows.path_N == rows.paths.index(path))
        middle_s = (rows.start_s[row_n] + rows.end_s[row_n]) / 2
        inside = row_n[(middle_s >= moment.start_s) & (middle_s <= moment.end_s)]
        if not len(inside):
            overlap_s = np.minimum(rows.end_s[row_n], moment.end_s) - np.maximum(rows.start_s[row_n], moment.start_s)
            if overlap_s.max() <= 0:
                raise InputError(f"{moment.path}: it has no clip from {moment.start_s:g} s to {moment.end_s:g} s")
            inside = row_n[[int(overlap_s.argmax())]]
        row_numbers += inside.tolist()
    return tuple(row_numbers)
