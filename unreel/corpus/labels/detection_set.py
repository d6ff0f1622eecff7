"""A folder of videos with boxes, as AVA lays it out, and the clips around its keyframes.

FOLDER/videos/NAME.mp4        or the videos beside the lists
FOLDER/train.csv, test.csv    or ava_train_v2.2.csv, ava_val_v2.2.csv; see boxes.py
FOLDER/labels.csv             or a .pbtxt; where both of AVA's are there, the one of the 60 actions that are judged
FOLDER/*excluded*.csv         keyframes that do not count
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from unreel.corpus.labels.boxes import (
    Keyframe,
    KeyframeKey,
    drop_unknown_actions,
    map_videos_by_name,
    read_boxes,
    read_exclusions,
    read_label_map,
)
from unreel.corpus.labels.packed_lists import read_packed_lists
from unreel.errors import InputError, VideoError
from unreel.types import Instance
from unreel.video.loading.clip_dataset import CandidateFrames, ClipDataset
from unreel.video.sampling.timeline import TIMESTAMP_TOLERANCE_S, ClipSpec
from unreel.video.sources.paths import is_packed_corpus

LIST_PATTERNS = {"training": ("train.csv", "ava_train_v*.csv"), "test": ("test.csv", "val.csv", "ava_val_v*.csv")}
LABEL_MAP_PATTERNS = ("labels.csv", "label_map.csv", "*for_activitynet*.pbtxt*", "*.pbtxt*")
EXCLUSION_PATTERN = "*excluded*.csv"


@dataclass
class DetectionSet:
    """Keyframes to train on and to be judged by, names of the actions, and the files of the videos.

    `clock_s` is what the lists call the first moment of each file: 0, or 900 for AVA's videos cut to the quarter hour
    that is annotated. `warnings` are sentences that belong beside the figures. Of a packed corpus `pieces` has where
    each piece of a video begins, ascending, and its address.
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
        """Read the lists of a folder. Raises InputError for a missing part, and for a row that can't be used."""
        folder = Path(folder)
        if is_packed_corpus(folder):
            beside, pieces = read_packed_lists(folder, lambda tree, _: cls.load(tree, clock_s))
            begins = {name: pieces.find_piece_starts(path) for name, path in beside.video_paths.items()}
            notes = [*map(pieces.restore_paths, beside.warnings), *pieces.describe_differences()]
            return replace(beside, folder=folder, video_paths={}, warnings=notes, pieces=begins)
        train, test = (read_boxes(_find_list(folder, part)) for part in LIST_PATTERNS)
        both = {k.key for k in train} & {k.key for k in test}
        if both:
            video, time_s = min(both)
            raise InputError(f"{folder}: {len(both)} keyframes are in both lists, the first is {video} at {time_s:g} s")
        label_map, found = (
            _find_newest(folder, LABEL_MAP_PATTERNS),
            {a for k in [*train, *test] for la in k.actions for a in la},
        )
        names = read_label_map(label_map) if label_map else {action: str(action) for action in sorted(found)}
        parts, said = [], []
        for name, part in (("training", train), ("test", test)):
            kept, others = drop_unknown_actions(part, names)
            parts.append(kept)
            if others:
                listed = ", ".join(map(str, sorted(others)))
                said.append(f"the {name} list has actions without a name in {label_map}, they do not count: {listed}.")
        excluded = {key for path in sorted(folder.glob(EXCLUSION_PATTERN)) for key in read_exclusions(path)}
        files = map_videos_by_name(folder / "videos" if (folder / "videos").is_dir() else folder)
        return cls(folder, parts[0], parts[1], names, files, excluded, clock_s, said)

    def drop_excluded(self, keyframes: Sequence[Keyframe]) -> list[Keyframe]:
        """Those that are not excluded."""
        return [k for k in keyframes if k.key not in self.excluded_keys]

    def make_instance(self, keyframe: Keyframe, number: int) -> Instance:
        """The moment of a keyframe in its file, which need not be there: decoding says so."""
        path, at_s = (
            str(self.video_paths.get(keyframe.video, self.folder / keyframe.video)),
            keyframe.time_s - self.clock_s,
        )
        if begins := self.pieces.get(keyframe.video):
            start_s, path = max((piece for piece in begins if piece[0] <= at_s + 1e-6), default=begins[0])
            at_s -= start_s
        return Instance(path, number, at_s, at_s)


def _find_list(folder: Path, subset: str) -> Path:
    path = _find_newest(folder, LIST_PATTERNS[subset])
    if path is None:
        names = ", ".join(LIST_PATTERNS[subset])
        raise InputError(f"{folder} has no {subset} part: none of {names} is there. Write one in AVA's format, rows "
                         "video,time,x1,y1,x2,y2,action,person")  # fmt: skip
    return path


def _find_newest(folder: Path, patterns: Sequence[str]) -> Path | None:
    """The first pattern that finds files decides; of several files the last by name, which is the newest version."""
    for pattern in patterns:
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    return None


def sample_centred_clip(times_s: np.ndarray, spec: ClipSpec, at_s: float) -> np.ndarray:
    """Real frame numbers of the clip around a moment, int64 (span,): entry lead_in + num_frames // 2 shows it.

    Beyond the ends of the video its first or last frame is repeated, so that the moment keeps its place.
    """
    steps = np.arange(spec.total_frames) - spec.lead_in - spec.num_frames // 2
    frame_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    ahead_s = min(TIMESTAMP_TOLERANCE_S, frame_s / 4) + 1e-6
    ticks_s = at_s + (steps / spec.fps if spec.fps > 0 else 0 * steps)
    shown = np.searchsorted(times_s, ticks_s + ahead_s, side="right") - 1
    return np.clip(shown + steps * spec.stride_frames if spec.stride_frames > 0 else shown, 0, len(times_s) - 1)


class KeyframeClipDataset(ClipDataset):
    """One clip around the start of each instance, whole frames squeezed to (size, size): boxes keep their place."""

    def __init__(self, instances: Sequence[Instance], spec: ClipSpec, size: int) -> None:
        super().__init__(instances, spec, (size, size), num_clips=1)

    def sample_clips(self, candidates: CandidateFrames, epoch: int, index: int, draw: int = 0) -> list[np.ndarray]:
        instance, times_s = self.instances[index], candidates.times_s
        end_s = float(times_s[-1]) + candidates.frame_s
        if not 0 <= instance.start_s <= end_s:
            where = f"the keyframe at {instance.start_s:g} s is not in the video, which ends at {end_s:g} s"
            raise VideoError(instance.path, "too short", where)
        return [sample_centred_clip(times_s, self.spec, instance.start_s)]
