"""A folder of videos with boxes, as AVA lays it out.

FOLDER/videos/NAME.mp4        or the videos beside the lists
FOLDER/train.csv, test.csv    or ava_train_v2.2.csv, ava_val_v2.2.csv; see boxes.py
FOLDER/labels.csv             or a .pbtxt; of AVA's two, the one with the 60 actions that are evaluated
FOLDER/*excluded*.csv         keyframes to leave out
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unreel.corpus.discovery import map_videos_by_name
from unreel.corpus.labels.boxes import Keyframe, KeyframeKey, drop_unknown_actions, read_boxes, read_exclusions
from unreel.corpus.labels.label_map import read_label_map
from unreel.corpus.labels.packed_lists import read_data_lists
from unreel.errors import InputError
from unreel.io.text import format_count
from unreel.types import Instance

LIST_PATTERNS = {"training": ("train.csv", "ava_train_v*.csv"), "test": ("test.csv", "val.csv", "ava_val_v*.csv")}
LABEL_MAP_PATTERNS = ("labels.csv", "label_map.csv", "*for_activitynet*.pbtxt*", "*.pbtxt*")
EXCLUSION_PATTERN = "*excluded*.csv"


@dataclass
class DetectionSet:
    """Keyframes of both parts, names of the actions, and the files of the videos.

    `clock_s` is the time that the lists give to the start of each file: 0, or 900 for AVA's videos cut to the annotated
    15 minutes. `warnings` are sentences to print beside the results. For a packed corpus, `pieces` has the start and
    the path of each piece of a video, in order.
    """

    folder: Path
    train: list[Keyframe]
    test: list[Keyframe]
    action_names: dict[int, str]
    video_paths: dict[str, Path]
    excluded_keys: set[KeyframeKey] = field(default_factory=set)
    clock_s: float = 0.0
    warnings: list[str] = field(default_factory=list)
    pieces: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path, clock_s: float = 0.0) -> "DetectionSet":
        """Read the lists of a folder. Raises InputError for a missing list, and for a row that can't be used."""
        folder = Path(folder)
        original, mapping = read_data_lists(
            folder, lambda mapping: cls._read(mapping.tree if mapping else folder, clock_s)
        )
        if mapping is None:
            return original
        pieces = {name: mapping.find_piece_starts(path) for name, path in original.video_paths.items()}
        warnings = [*map(mapping.restore_paths, original.warnings), *mapping.describe_differences()]
        return replace(original, folder=folder, video_paths={}, warnings=warnings, pieces=pieces)

    @classmethod
    def _read(cls, folder: Path, clock_s: float) -> "DetectionSet":
        """The lists of a folder of originals."""
        lists = {title: read_boxes(_find_list(folder, title)) for title in LIST_PATTERNS}
        _check_disjoint(folder, lists["training"], lists["test"])
        label_map = _find_newest(folder, LABEL_MAP_PATTERNS)
        names = read_label_map(label_map) if label_map else _number_actions([*lists["training"], *lists["test"]])
        warnings = []
        for title, keyframes in lists.items():
            lists[title], unknown = drop_unknown_actions(keyframes, names)
            if unknown:
                ids = ", ".join(map(str, sorted(unknown)))
                warnings.append(f"the {title} list has actions that are not in {label_map}; they are ignored: {ids}.")
        excluded = {key for path in sorted(folder.glob(EXCLUSION_PATTERN)) for key in read_exclusions(path)}
        paths = map_videos_by_name(folder / "videos" if (folder / "videos").is_dir() else folder)
        return cls(folder, lists["training"], lists["test"], names, paths, excluded, clock_s, warnings)

    def drop_excluded(self, keyframes: Sequence[Keyframe]) -> list[Keyframe]:
        """The keyframes that are not excluded."""
        return [k for k in keyframes if k.key not in self.excluded_keys]

    def make_instance(self, keyframe: Keyframe, number: int) -> Instance:
        """The instance of a keyframe: its file, which may be missing, and its time in it."""
        path = str(self.video_paths.get(keyframe.video, self.folder / keyframe.video))
        time_s = keyframe.time_s - self.clock_s
        if pieces := self.pieces.get(keyframe.video):
            start_s, path = max((piece for piece in pieces if piece[0] <= time_s + 1e-6), default=pieces[0])
            time_s -= start_s
        return Instance(path, number, time_s, time_s)


def _check_disjoint(folder: Path, train: Sequence[Keyframe], test: Sequence[Keyframe]) -> None:
    shared = {k.key for k in train} & {k.key for k in test}
    if shared:
        video, time_s = min(shared)
        count = format_count(len(shared), "keyframe")
        raise InputError(f"{folder}: both lists have {count} in common, the first is {video} at {time_s:g} s")


def _number_actions(keyframes: Sequence[Keyframe]) -> dict[int, str]:
    """Names for actions without a label map: their ids."""
    return {action: str(action) for action in sorted({a for k in keyframes for actions in k.actions for a in actions})}


def _find_list(folder: Path, title: str) -> Path:
    path = _find_newest(folder, LIST_PATTERNS[title])
    if path is None:
        names = ", ".join(LIST_PATTERNS[title])
        raise InputError(
            f"{folder} has no {title} list: none of {names} is there. Write one in AVA's format, rows "
            "video,time,x1,y1,x2,y2,action,person"
        )
    return path


def _find_newest(folder: Path, patterns: Sequence[str]) -> Path | None:
    """A file of the first pattern that matches any; of several the last by name, which is the newest version."""
    for pattern in patterns:
        if paths := sorted(folder.glob(pattern)):
            return paths[-1]
    return None
