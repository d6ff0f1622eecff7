"""Boxes with actions at keyframes, in AVA's CSV files: seconds, and x1, y1, x2, y2 as shares of the picture.

    ground truth    video,time,x1,y1,x2,y2,action[,person]             a row for each action of each person
    detections      video,time,x1,y1,x2,y2,action,score[,person]
    proposals       video,time,x1,y1,x2,y2[,action[,score]]            persons without regard to what they do
    exclusions      video,time
    label map       item { name: "stand" id: 12 }, label { name: "stand" label_id: 12 }, or rows id,name

No file has a header but the label map may. Source: Gu et al. 2018 (AVA v2.2).
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unreel.corpus.lists import VIDEO_SUFFIXES, normalize_name, read_table, read_text
from unreel.errors import InputError

KeyframeKey = tuple[str, float]
"""A keyframe's video and its time in seconds, to the millisecond."""
BORDER_TOLERANCE = 0.02  # detectors and annotators overshoot the border by so much, as a share of the picture
_ITEM_PATTERN = re.compile(r"(?:item|label)\s*\{(.*?)\}", re.DOTALL)
_NAME_PATTERN, _ID_PATTERN = (
    re.compile(r"\bname:\s*(?:\"([^\"]*)\"|'([^']*)')"),
    re.compile(r"\b(?:label_)?id:\s*(\d+)"),
)


@dataclass(frozen=True)
class Keyframe:
    """The boxes (N, 4) of one moment of one video and the actions of each; `video` is a name, not yet a file."""

    video: str
    time_s: float
    boxes: np.ndarray
    actions: list[frozenset[int]]

    @property
    def key(self) -> KeyframeKey:
        return self.video, self.time_s


@dataclass(frozen=True)
class Detections:
    """N scored statements that box n of keyframe n shows action n: float64 (N, 4), int64 (N,), float64 (N,)."""

    keys: list[KeyframeKey]
    boxes: np.ndarray
    actions: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


def read_boxes(path: Path, known_actions: Collection[int] | None = None) -> list[Keyframe]:
    """Keyframes of a ground truth file in the order of their first row; rows of one person and box are one box.

    Boxes are clipped at the border. Raises InputError with file, line and value for a row that can't be used, among
    them one with an action that is not in `labels`, where those are given.
    """
    found: dict[KeyframeKey, dict[tuple[float, ...], set[int]]] = {}
    for where, cells in _read_rows(path, "video,time,x1,y1,x2,y2,action[,person]", 7, 8):
        person = _parse_integer(where, "person", cells[7]) if len(cells) > 7 and cells[7] else -1
        boxes = found.setdefault(_parse_key(where, cells), {})
        boxes.setdefault((*_parse_box(where, cells), person), set()).add(_parse_action(where, cells[6], known_actions))
    return [_build_keyframe(key, boxes) for key, boxes in found.items()]


def read_proposals(path: Path, min_score: float = 0.0) -> list[Keyframe]:
    """Keyframes with unlabelled boxes: every different box of a file of proposals or detections, if it scores enough.

    Raises InputError with file, line and value for a row that can't be used.
    """
    found: dict[KeyframeKey, dict[tuple[float, ...], set[int]]] = {}
    for where, cells in _read_rows(path, "video,time,x1,y1,x2,y2[,action[,score]]", 6, 9):
        score = _parse_number(where, "the score", cells[7]) if len(cells) > 7 else math.inf
        boxes = found.setdefault(_parse_key(where, cells), {})
        if score >= min_score:
            boxes.setdefault(_parse_box(where, cells), set())
    return [_build_keyframe(key, boxes) for key, boxes in found.items()]


def read_detections(path: Path, known_actions: Collection[int] | None = None) -> Detections:
    """A file of detections, row by row. Raises InputError as `read_boxes` does."""
    keys, boxes, actions, scores = [], [], [], []
    for where, cells in _read_rows(path, "video,time,x1,y1,x2,y2,action,score[,person]", 8, 9):
        keys.append(_parse_key(where, cells))
        boxes.append(_parse_box(where, cells))
        actions.append(_parse_action(where, cells[6], known_actions))
        scores.append(_parse_number(where, "the score", cells[7]))
    places = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Detections(keys, places, np.array(actions, dtype=np.int64), np.array(scores, dtype=np.float64))


def write_detections(path: Path, detections: Detections) -> None:
    """A file that `read_detections` and AVA's own evaluation read; nine digits, which float32 survives."""
    rows = zip(detections.keys, detections.boxes, detections.actions, detections.scores, strict=True)
    lines = [
        ",".join(
            [_quote_csv(video), _format_time(time_s), *(f"{v:.9g}" for v in box), str(int(action)), f"{score:.9g}"]
        )
        for (video, time_s), box, action, score in rows
    ]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_boxes(path: Path, keyframes: Iterable[Keyframe]) -> None:
    """A ground truth file, persons numbered within their keyframe."""
    lines = [
        ",".join([_quote_csv(k.video), _format_time(k.time_s), *(f"{v:.9g}" for v in box), str(action), str(person)])
        for k in keyframes
        for person, (box, actions) in enumerate(zip(k.boxes, k.actions, strict=True))
        for action in sorted(actions)
    ]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_label_map(path: Path) -> dict[int, str]:
    """Action id to name, in the order of the file. Raises InputError for a file without actions or with one twice."""
    text = read_text(path)
    rows = _parse_items(path, text) if _ITEM_PATTERN.search(text) else _parse_id_rows(path)
    names: dict[int, str] = {}
    for where, number, name in rows:
        if number in names:
            raise InputError(f"{where}: action {number} is '{names[number]}' already, it can't be '{name}' too")
        names[number] = name
    if not names:
        raise InputError(f'{path}: names no action. Write rows id,name or items {{ name: "..." id: N }}')
    return names


def read_exclusions(path: Path) -> set[KeyframeKey]:
    """Keyframes that nobody may train on or be judged by."""
    return {_parse_key(where, cells) for where, cells in _read_rows(path, "video,time", 2, 2)}


def drop_unknown_actions(
    keyframes: Iterable[Keyframe], known_actions: Collection[int]
) -> tuple[list[Keyframe], set[int]]:
    """The same boxes without the actions that are not in `labels`, and these actions."""
    keyframes = list(keyframes)
    others = {action for k in keyframes for actions in k.actions for action in actions} - set(known_actions)
    if not others:
        return keyframes, others
    return [replace(k, actions=[actions - others for actions in k.actions]) for k in keyframes], others


def map_videos_by_name(folder: Path) -> dict[str, Path]:
    """Every video below a folder by its name, with and without suffix; of several the first in the alphabet."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    return {normalize_name(name): path for path in reversed(paths) for name in (path.name, path.stem)}


def _read_rows(path: Path, columns: str, min_cells: int, max_cells: int) -> Iterator[tuple[str, list[str]]]:
    for line, cells in read_table(path):
        where = f"{path}, line {line}"
        if not min_cells <= len(cells) <= max_cells:
            raise InputError(f"{where}: {len(cells)} cells where {columns} is expected: {','.join(cells)!r}")
        if not cells[0]:
            raise InputError(f"{where}: names no video")
        yield where, cells


def _build_keyframe(key: KeyframeKey, boxes: dict[tuple[float, ...], set[int]]) -> Keyframe:
    places = np.array([box[:4] for box in boxes], dtype=np.float64).reshape(-1, 4)
    return Keyframe(*key, places, [frozenset(actions) for actions in boxes.values()])


def _parse_number(where: str, quantity: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {quantity} is {text!r}, not a finite number")
    return value


def _parse_integer(where: str, quantity: str, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        hint = "; files of detections are not ground truth" if quantity == "person" else ""
        raise InputError(f"{where}: the {quantity} is {text!r}, not a whole number{hint}")
    return int(text)


def _parse_action(where: str, text: str, known_actions: Collection[int] | None) -> int:
    action = _parse_integer(where, "action", text)
    if action < 0 or (known_actions is not None and action not in known_actions):
        known = (
            "actions are numbered from 0" if known_actions is None else f"the label map has {len(known_actions)} others"
        )
        raise InputError(f"{where}: unknown action {action}; {known}")
    return action


def _parse_key(where: str, cells: list[str]) -> KeyframeKey:
    time_s = _parse_number(where, "the time", cells[1])
    if time_s < 0:
        raise InputError(f"{where}: the time is {cells[1]} s, before the video begins")
    return normalize_name(cells[0]), round(time_s, 3)


def _parse_box(where: str, cells: list[str]) -> tuple[float, ...]:
    """Cells 2 to 5, clipped at the border."""
    values = [_parse_number(where, name, text) for name, text in zip(("x1", "y1", "x2", "y2"), cells[2:6], strict=True)]
    for name, value in zip(("x1", "y1", "x2", "y2"), values, strict=True):
        if not -BORDER_TOLERANCE <= value <= 1 + BORDER_TOLERANCE:
            raise InputError(f"{where}: {name} is {value:g}; boxes are shares of the picture, between 0 and 1")
    x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in values)
    for name, first, last in (("x", x1, x2), ("y", y1, y2)):
        if last <= first:
            raise InputError(f"{where}: the box is empty, {name}2={last:g} does not lie beyond {name}1={first:g}")
    return x1, y1, x2, y2


def _format_time(time_s: float) -> str:
    """AVA writes whole seconds with four digits."""
    return f"{int(time_s):04d}" if time_s == int(time_s) else f"{time_s:.3f}"


def _quote_csv(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name


def _parse_items(path: Path, text: str) -> Iterator[tuple[str, int, str]]:
    for block in _ITEM_PATTERN.finditer(text):
        where = f"{path}, line {text.count(chr(10), 0, block.start()) + 1}"
        name, number = _NAME_PATTERN.search(block[1]), _ID_PATTERN.search(block[1])
        if not name or not number:
            raise InputError(f"{where}: an item needs name and id, it is {' '.join(block[0].split())!r}")
        yield where, int(number[1]), name[1] if name[1] is not None else name[2]


def _parse_id_rows(path: Path) -> Iterator[tuple[str, int, str]]:
    """Rows id,name; AVA-like lists may begin with a header and carry further columns."""
    for n, (line, cells) in enumerate(read_table(path)):
        where = f"{path}, line {line}"
        if len(cells) < 2 or not cells[1]:
            raise InputError(f"{where}: a label map has rows id,name; this one is {','.join(cells)!r}")
        if n == 0 and cells[0].lower() in {"id", "action_id", "label_id"}:
            continue
        yield where, _parse_integer(where, "action", cells[0]), cells[1]
