"""Boxes with actions at keyframes, in AVA's CSV files: times in seconds, x1, y1, x2, y2 as shares of the frame.

    ground truth    video,time,x1,y1,x2,y2,action[,person]             a row for each action of each person
    detections      video,time,x1,y1,x2,y2,action,score[,person]
    proposals       video,time,x1,y1,x2,y2[,action[,score]]            boxes of persons, whatever they do
    exclusions      video,time

No file has a header. Source: Gu et al. 2018 (AVA v2.2).
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unreel.corpus.lists import normalize_name, read_table
from unreel.errors import InputError

KeyframeKey = tuple[str, float]
"""A keyframe's video and its time in seconds, to the millisecond."""


BORDER_TOLERANCE = 0.02  # share of the frame by which boxes may lie outside; detectors and annotators overshoot


@dataclass(frozen=True)
class Keyframe:
    """The boxes (N, 4) at one time of one video and the actions of each; `video` is a name, no path."""

    video: str
    time_s: float
    boxes: np.ndarray
    actions: list[frozenset[int]]

    @property
    def key(self) -> KeyframeKey:
        return self.video, self.time_s


@dataclass(frozen=True)
class Detections:
    """N detections, each a keyframe, box, action and score: boxes float64 (N, 4), int64 (N,), float64 (N,)."""

    keys: list[KeyframeKey]
    boxes: np.ndarray
    actions: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


def read_boxes(path: Path, known_actions: Collection[int] | None = None) -> list[Keyframe]:
    """Keyframes of a ground truth file in the order of their first row; rows of one person and box are one box.

    Boxes are clipped at the border. Raises InputError with file, line and value for a row that can't be used; an
    action outside `known_actions`, if given, is such a row.
    """
    boxes_by_key: dict[KeyframeKey, dict[tuple[float, ...], set[int]]] = {}
    for location, cells in _read_rows(path, "video,time,x1,y1,x2,y2,action[,person]", 7, 8):
        person = parse_integer(location, "person", cells[7]) if len(cells) > 7 and cells[7] else -1
        boxes = boxes_by_key.setdefault(_parse_key(location, cells), {})
        actions = boxes.setdefault((*_parse_box(location, cells), person), set())
        actions.add(_parse_action(location, cells[6], known_actions))
    return [_build_keyframe(key, boxes) for key, boxes in boxes_by_key.items()]


def read_proposals(path: Path, min_score: float = 0.0) -> list[Keyframe]:
    """Keyframes with unlabelled boxes: every distinct box of a file of proposals or detections with enough score.

    Raises InputError with file, line and value for a row that can't be used.
    """
    boxes_by_key: dict[KeyframeKey, dict[tuple[float, ...], set[int]]] = {}
    for location, cells in _read_rows(path, "video,time,x1,y1,x2,y2[,action[,score]]", 6, 9):
        score = _parse_number(location, "the score", cells[7]) if len(cells) > 7 else math.inf
        boxes = boxes_by_key.setdefault(_parse_key(location, cells), {})
        if score >= min_score:
            boxes.setdefault(_parse_box(location, cells), set())
    return [_build_keyframe(key, boxes) for key, boxes in boxes_by_key.items()]


def read_detections(path: Path, known_actions: Collection[int] | None = None) -> Detections:
    """The rows of a file of detections. Raises InputError as `read_boxes` does."""
    keys, boxes, actions, scores = [], [], [], []
    for location, cells in _read_rows(path, "video,time,x1,y1,x2,y2,action,score[,person]", 8, 9):
        keys.append(_parse_key(location, cells))
        boxes.append(_parse_box(location, cells))
        actions.append(_parse_action(location, cells[6], known_actions))
        scores.append(_parse_number(location, "the score", cells[7]))
    box_array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Detections(keys, box_array, np.array(actions, dtype=np.int64), np.array(scores, dtype=np.float64))


def write_detections(path: Path, detections: Detections) -> None:
    """Write a file that `read_detections` and AVA's evaluation read; nine digits keep every float32 value."""
    rows = zip(detections.keys, detections.boxes, detections.actions, detections.scores, strict=True)
    lines = [
        ",".join(
            [_quote_csv(video), _format_time(time_s), *(f"{v:.9g}" for v in box), str(int(action)), f"{score:.9g}"]
        )
        for (video, time_s), box, action, score in rows
    ]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_boxes(path: Path, keyframes: Iterable[Keyframe]) -> None:
    """Write a ground truth file; persons are numbered within their keyframe."""
    lines = [
        ",".join([_quote_csv(k.video), _format_time(k.time_s), *(f"{v:.9g}" for v in box), str(action), str(person)])
        for k in keyframes
        for person, (box, actions) in enumerate(zip(k.boxes, k.actions, strict=True))
        for action in sorted(actions)
    ]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_exclusions(path: Path) -> set[KeyframeKey]:
    """Keyframes to leave out of training and evaluation."""
    return {_parse_key(location, cells) for location, cells in _read_rows(path, "video,time", 2, 2)}


def drop_unknown_actions(
    keyframes: Iterable[Keyframe], known_actions: Collection[int]
) -> tuple[list[Keyframe], set[int]]:
    """The keyframes without the actions that are not in `known_actions`, and those actions."""
    keyframes = list(keyframes)
    unknown = {action for k in keyframes for actions in k.actions for action in actions} - set(known_actions)
    if not unknown:
        return keyframes, unknown
    return [replace(k, actions=[actions - unknown for actions in k.actions]) for k in keyframes], unknown


def _read_rows(path: Path, columns: str, min_cells: int, max_cells: int) -> Iterator[tuple[str, list[str]]]:
    for line, cells in read_table(path):
        location = f"{path}, line {line}"
        if not min_cells <= len(cells) <= max_cells:
            raise InputError(f"{location}: {len(cells)} cells, expected {columns}: {','.join(cells)!r}")
        if not cells[0]:
            raise InputError(f"{location}: no video name")
        yield location, cells


def _build_keyframe(key: KeyframeKey, boxes: dict[tuple[float, ...], set[int]]) -> Keyframe:
    box_array = np.array([box[:4] for box in boxes], dtype=np.float64).reshape(-1, 4)
    return Keyframe(*key, box_array, [frozenset(actions) for actions in boxes.values()])


def _parse_number(location: str, quantity: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{location}: {quantity} is {text!r}, not a finite number")
    return value


def parse_integer(location: str, quantity: str, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        hint = "; this may be a file of detections, not ground truth" if quantity == "person" else ""
        raise InputError(f"{location}: the {quantity} is {text!r}, not a whole number{hint}")
    return int(text)


def _parse_action(location: str, text: str, known_actions: Collection[int] | None) -> int:
    action = parse_integer(location, "action", text)
    if action < 0 or (known_actions is not None and action not in known_actions):
        known = (
            "ids start at 0" if known_actions is None else f"it is not one of the {len(known_actions)} in the label map"
        )
        raise InputError(f"{location}: unknown action {action}; {known}")
    return action


def _parse_key(location: str, cells: list[str]) -> KeyframeKey:
    time_s = _parse_number(location, "the time", cells[1])
    if time_s < 0:
        raise InputError(f"{location}: the time is {cells[1]} s, before the start of the video")
    return normalize_name(cells[0]), round(time_s, 3)


def _parse_box(location: str, cells: list[str]) -> tuple[float, ...]:
    """Cells 2 to 5, clipped at the border."""
    names = ("x1", "y1", "x2", "y2")
    values = [_parse_number(location, name, text) for name, text in zip(names, cells[2:6], strict=True)]
    for name, value in zip(names, values, strict=True):
        if not -BORDER_TOLERANCE <= value <= 1 + BORDER_TOLERANCE:
            raise InputError(f"{location}: {name} is {value:g}; boxes are shares of the frame, between 0 and 1")
    x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in values)
    for name, first, last in (("x", x1, x2), ("y", y1, y2)):
        if last <= first:
            raise InputError(f"{location}: empty box, {name}2={last:g} is not greater than {name}1={first:g}")
    return x1, y1, x2, y2


def _format_time(time_s: float) -> str:
    """Seconds; whole ones with four digits, as in AVA."""
    return f"{int(time_s):04d}" if time_s == int(time_s) else f"{time_s:.3f}"


def _quote_csv(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name
