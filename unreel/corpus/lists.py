"""Lists of videos: one path per line, CSV or TSV tables, JSON; and finding the files that a list names."""

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unreel.corpus.video_files import VIDEO_SUFFIXES
from unreel.errors import InputError
from unreel.video.sources.paths import is_synthetic

MAX_NAME_BYTES = 255  # of the file systems in use
LIST_COLUMNS = ("path", "label", "group")
LIST_SUFFIXES = frozenset({".txt", ".csv", ".tsv"})
_CLASS_NUMBER = re.compile(r"(?P<path>.*\.\w+)\s+\d+")


@dataclass(frozen=True)
class VideoEntry:
    """A video of a folder or list: its path, the class and group that the layout gives it ("" for none), and its line
    in the list (0 for none)."""

    path: Path
    label: str = ""
    group: str = ""
    line: int = field(default=0, compare=False)


class _Row(NamedTuple):
    """What a line of a list says."""

    line: int
    text: str
    label: str = ""
    group: str = ""


def is_file(path: Path) -> bool:
    """Whether there is a file; False, too, where the name is one that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def normalize_name(name: str) -> str:
    """One spelling for equivalent names: composed and decomposed accents, UCF101's HandStandPushups."""
    return unicodedata.normalize("NFC", name).replace("HandStandPushups", "HandstandPushups")


class FileFinder:
    """Finds files by the path a list gives, also where folder and list spell a name differently.

    The folder and the lists of UCF101 differ in one class; see `normalize_name`. With `any_suffix` the file may have
    another container than the list says.
    """

    def __init__(self, root: Path, any_suffix: bool = False) -> None:
        self.root, self.any_suffix = root, any_suffix
        self._listings: dict[Path, dict[str, Path]] = {}

    def find(self, listed_path: str) -> Path | None:
        """The file that a list means by this path, or None."""
        exact = self.root / listed_path
        if is_file(exact):
            return exact
        path: Path | None = self.root
        for part in Path(listed_path).parts:
            path = self._list_children(path).get(self._normalize_key(part)) if path else None
        return path if path and is_file(path) else None

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
    """The videos of a list; one that is not found keeps the path of the list. Raises InputError if it is empty."""
    rows = _read_table_rows(path) if path.suffix.lower() in {".csv", ".tsv"} else _read_text_rows(path, finder)
    entries = [_find_entry(row, path, finder) for row in rows]
    if not entries:
        raise InputError(f"{path}: the list names no video. Write one path per line, or a CSV with a path column")
    return entries


def read_text(path: Path) -> str:
    """The text of a list. Raises InputError, with the line, if it can't be read, is not UTF-8 or has a NUL."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: the list can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text ({error.reason}); save the list as UTF-8") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{path}, line {line}: a NUL character, which no text has; make the list again")
    return text


def read_lines(path: Path) -> list[str]:
    return read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises InputError with the line of the first fault."""
    text = read_text(path)
    if "\\u0000" in text:
        line = text[: text.index("\\u0000")].count("\n") + 1
        raise InputError(f"{path}, line {line}: a NUL character (\\u0000), which no name has; fetch the file again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); fetch the file again") from error
    except (RecursionError, ValueError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path}: JSON that can't be read ({problem}); fetch the file again") from error


def read_table(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of each line that is not empty; a .csv has commas and quotes, a .tsv only tabs."""
    tabs = path.suffix.lower() == ".tsv"
    quoting: Literal[0, 3] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    # Strict: without it, a quote that is never closed silently swallows the rest of the list.
    text = io.StringIO(read_text(path), newline="")  # a name in quotes keeps its line ends
    reader = csv.reader(text, delimiter="\t" if tabs else ",", quoting=quoting, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not valid CSV ({error}); is a quote left open?") from error
    return rows


def _find_entry(row: "_Row", path: Path, finder: FileFinder) -> VideoEntry:
    """The video of a row. Raises InputError for a name that no file can have."""
    longest = max(len(os.fsencode(part)) for part in row.text.split("/"))
    if longest > MAX_NAME_BYTES:
        problem = f"{path}, line {row.line}: a name of {longest} bytes, and a file's name has at most {MAX_NAME_BYTES}"
        raise InputError(problem, "write one path per line")
    if is_synthetic(row.text):
        return VideoEntry(Path(row.text), row.label, row.group, row.line)
    return VideoEntry(finder.find(row.text) or finder.root / row.text, row.label, row.group, row.line)


def _read_text_rows(path: Path, finder: FileFinder) -> "Iterator[_Row]":
    """One path per line; a class number after it (UCF101) is dropped; '#' starts a comment unless it is a file."""
    for number, line in enumerate(map(str.strip, read_lines(path)), start=1):
        if not line or (line.startswith("#") and finder.find(line) is None):
            continue
        numbered = _CLASS_NUMBER.fullmatch(line)
        yield _Row(number, numbered["path"] if numbered and not is_file(finder.root / line) else line)


def _read_table_rows(path: Path) -> "Iterator[_Row]":
    """Path, label and group of each row of a CSV or TSV whose header names path, and optionally label and group."""
    (_, header), *rows = read_table(path) or [(0, [])]
    header = [name.lower() for name in header]
    if "path" not in header:
        raise InputError(f"{path}: line 1 must name the columns path[,label][,group]; it is {','.join(header)!r}")
    if doubled := [name for name in LIST_COLUMNS if header.count(name) > 1]:
        raise InputError(f"{path}: line 1 names the column {doubled[0]} more than once; keep one of them")
    for line, cells in rows:
        row = dict(zip(header, cells, strict=False))
        if len(cells) > len(header):
            raise InputError(f"{path}, line {line}: {len(cells)} cells, {len(header)} columns; quote names with commas")
        if not row.get("path"):
            raise InputError(f"{path}, line {line}: no path")
        yield _Row(line, row["path"], row.get("label", ""), row.get("group", ""))
