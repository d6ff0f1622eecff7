"""Label maps of action detection: action ids and their names.

A .pbtxt of AVA has items: item { name: "stand" id: 12 }, or label { name: "stand" label_id: 12 }. Other files have rows
id,name and may have a header.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from unreel.corpus.labels.boxes import parse_integer
from unreel.corpus.lists import read_table, read_text
from unreel.errors import InputError

_ITEM_PATTERN = re.compile(r"(?:item|label)\s*\{(.*?)\}", re.DOTALL)
_NAME_PATTERN = re.compile(r"\bname:\s*(?:\"([^\"]*)\"|'([^']*)')")
_ID_PATTERN = re.compile(r"\b(?:label_)?id:\s*(\d+)")


def read_label_map(path: Path) -> dict[int, str]:
    """Action id to name, in the order of the file. Raises InputError for a file without actions, or an id twice."""
    text = read_text(path)
    rows = _parse_items(path, text) if _ITEM_PATTERN.search(text) else _parse_id_rows(path)
    names: dict[int, str] = {}
    for location, number, name in rows:
        if number in names:
            raise InputError(f"{location}: action {number} has two names, '{names[number]}' and '{name}'")
        names[number] = name
    if not names:
        raise InputError(f'{path}: no action in it. Write rows id,name or items {{ name: "..." id: N }}')
    return names


def _parse_items(path: Path, text: str) -> Iterator[tuple[str, int, str]]:
    for block in _ITEM_PATTERN.finditer(text):
        location = f"{path}, line {text.count(chr(10), 0, block.start()) + 1}"
        name, number = _NAME_PATTERN.search(block[1]), _ID_PATTERN.search(block[1])
        if not name or not number:
            raise InputError(f"{location}: an item needs a name and an id, it is {' '.join(block[0].split())!r}")
        yield location, int(number[1]), name[1] if name[1] is not None else name[2]


def _parse_id_rows(path: Path) -> Iterator[tuple[str, int, str]]:
    """Rows id,name; a header and further columns are ignored."""
    for n, (line, cells) in enumerate(read_table(path)):
        location = f"{path}, line {line}"
        if len(cells) < 2 or not cells[1]:
            raise InputError(f"{location}: a label map has rows id,name; this one is {','.join(cells)!r}")
        if n == 0 and cells[0].lower() in {"id", "action_id", "label_id"}:
            continue
        yield location, parse_integer(location, "action", cells[0]), cells[1]
