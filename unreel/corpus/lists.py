"""Lists of videos: one path a line, CSV or TSV tables, JSON, HMDB51's split files; and finding the files they name."""

import csv
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unreel.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts", ".gif", ".mpg", ".mpeg", ".m2v", ".wmv"}
    | {".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".vob", ".mxf", ".divx", ".y4m", ".h264", ".hevc"}
)
LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv"})
_CLASS_NUMBER = re.compile(r"(?P<path>.*\.\w+)\s+\d+")


@dataclass(frozen=True)
class VideoEntry:
    """A file somebody wants used; its path as found, and the class and group its layout gives it ("" for none)."""

    path: Path
    label: str = ""
    group: str = ""


def normalize_name(name: str) -> str:
    """One spelling for those that count as the same: UCF101's HandStandPushups, composed and decomposed accents."""
    return unicodedata.normalize("NFC", name).replace("HandStandPushups", "HandstandPushups")


class FileFinder:
    """Finds files by the path a list gives, also where folder and list spell a name in two ways.

    UCF101's own folder and list do, in one class; see `respelled`. With `any_suffix` the container may differ too.
    """

    def __init__(self, root: Path, any_suffix: bool = False) -> None:
        self.root, self.any_suffix = root, any_suffix
        self._listings: dict[Path, dict[str, Path]] = {}

    def find(self, listed_path: str) -> Path | None:
        """The file meant by `text`, or None."""
        exact = self.root / listed_path
        if exact.is_file():
            return exact
        here: Path | None = self.root
        for part in Path(listed_path).parts:
            here = self._list_children(here).get(self._normalize_key(part)) if here else None
        return here if here and here.is_file() else None

    def _normalize_key(self, name: str) -> str:
        return os.path.splitext(normalize_name(name))[0] if self.any_suffix else normalize_name(name)

    def _list_children(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listings:
            paths = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
            if self.any_suffix:
                paths = [path for path in paths if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES]
            self._listings[folder] = {self._normalize_key(path.name): path for path in paths}
        return self._listings[folder]


def read_list(path: Path, finder: FileFinder) -> list[VideoEntry]:
    """Rows of a list; a file that is not found keeps the path the list gives it. Raises InputError if it is empty."""
    rows = _read_table_rows(path) if path.suffix.lower() in {".csv", ".tsv"} else _read_text_rows(path, finder)
    listed = [VideoEntry(finder.find(text) or finder.root / text, label, group) for text, label, group in rows]
    if not listed:
        raise InputError(f"{path}: the list names no video. Write one path a line, or a CSV with a path column")
    return listed


def read_text(path: Path) -> str:
    """The text of a list. Raises InputError if it can't be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: the list can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the list is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _read_lines(path: Path) -> list[str]:
    return read_text(path).split("\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises InputError with the line where it breaks off or goes wrong."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); fetch the file again") from error


def read_table(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of each line that is not empty: commas and quotes in a .csv, bare tabs in a .tsv."""
    tabs = path.suffix.lower() == ".tsv"
    quoting: Literal[0, 3] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    # Strict, because a quote that is never closed would else swallow the rest of the list in silence.
    reader = csv.reader(_read_lines(path), delimiter="\t" if tabs else ",", quoting=quoting, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not valid CSV ({error}); is a quote left open?") from error
    return rows


def _read_text_rows(path: Path, finder: FileFinder) -> Iterator[tuple[str, str, str]]:
    """One path a line; a class number after it (as in UCF101) is dropped, '#' begins a comment unless it is a file."""
    for line in (line.strip() for line in _read_lines(path)):
        if not line or (line.startswith("#") and finder.find(line) is None):
            continue
        numbered = _CLASS_NUMBER.fullmatch(line)
        yield (numbered["path"] if numbered and not (finder.root / line).is_file() else line), "", ""


def _read_table_rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Rows of a CSV or TSV with a header that names path and perhaps label and group."""
    (_, header), *rows = read_table(path) or [(0, [])]
    header = [name.lower() for name in header]
    if "path" not in header:
        raise InputError(f"{path}: line 1 must name the columns path[,label][,group]; it is {','.join(header)!r}")
    for line, cells in rows:
        row = dict(zip(header, cells, strict=False))
        if len(cells) > len(header):
            raise InputError(f"{path}, line {line}: {len(cells)} cells, {len(header)} columns; quote names with commas")
        if not row.get("path"):
            raise InputError(f"{path}, line {line}: no path")
        yield row["path"], row.get("label", ""), row.get("group", "")


def read_hmdb51_rows(path: Path, finder: FileFinder) -> Iterator[tuple[VideoEntry, str]]:
    """Files of one class with their side: 1 train, 2 test, 0 unused. Names may begin with '#': no comments here."""
    label = re.sub(r"_test_split\d+$", "", path.stem)
    for number, line in enumerate(map(str.strip, _read_lines(path)), start=1):
        if not line:
            continue
        name, _, side = line.rpartition(" ")
        if side not in set("012"):
            raise InputError(f"{path}, line {number}: {line!r} does not end with 0 (unused), 1 (train) or 2 (test)")
        text = f"{label}/{name.strip()}"
        yield VideoEntry(finder.find(text) or finder.root / text, label), side
