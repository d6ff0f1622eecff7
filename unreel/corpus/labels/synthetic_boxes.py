"""Synthetic videos with boxes: one to three textured things on a textured ground, each moving in its own way.

Like `synth.py`: what is drawn comes from streams that do not see the motions, one frame hardly tells them, and train
and test share no texture. Things stay, shake, nod or circle; each may pulse as well, so a box can have two actions.
The folder looks like AVA: `videos/`, `train.csv`, `test.csv` with a keyframe each second, and `labels.csv`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from unreel.corpus.labels.boxes import Keyframe, write_boxes
from unreel.corpus.synthetic_motion import assign_split, claim_folder
from unreel.corpus.synthetic_scene import MARGIN, Scene, SceneObject, draw_camera_jitter, draw_scene, paste_object
from unreel.errors import InputError
from unreel.seeding import make_generator
from unreel.video.decoding.writer import write_video

ACTIONS = {1: "still", 2: "shake", 3: "nod", 4: "circle", 5: "pulse"}
PULSING_SHARE = 0.3  # share of the things that grow and shrink besides
SIZE_RANGE = (0.1, 0.55)  # of synth's range, so that three things have room beside each other
MAX_OBJECTS = 3


@dataclass(frozen=True)
class BoxScene:
    """A video: its scene, and for each thing its poses (T, 4) and actions, and the camera's offsets (T, 4)."""

    scene: Scene
    poses: list[np.ndarray]
    actions: list[frozenset[int]]
    jitter: np.ndarray


def draw_box_scene(seed: int, index: int, split: str, num_frames: int, size: tuple[int, int], fps: float) -> BoxScene:
    """Video `index` of a split, `size` (height, width)."""
    scene = draw_scene(seed, index, split, size)
    count = int(make_generator(seed, 0, index, "count").integers(1, MAX_OBJECTS + 1))
    slots = make_generator(seed, 0, index, "slots").permutation(MAX_OBJECTS)[:count]
    drawn = [
        _draw_object_motion(seed, index * MAX_OBJECTS + int(slot), int(slot), np.arange(num_frames) / fps, size)
        for slot in slots
    ]
    scene = replace(scene, objects=scene.objects[:count])
    return BoxScene(
        scene, [pose for pose, _ in drawn], [act for _, act in drawn], draw_camera_jitter(seed, index, num_frames)
    )


def _draw_object_motion(
    seed: int, number: int, slot: int, times_s: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, frozenset[int]]:
    """Poses x, y, angle, size (T, 4) of one thing, and its actions."""
    chosen = make_generator(seed, 0, number, "action")
    path, pulses = int(chosen.integers(1, 5)), bool(chosen.random() < PULSING_SHARE)
    rng, (height, width) = make_generator(seed, 0, number, "pose"), size
    home = np.array([(slot + rng.uniform(0.4, 0.6)) * width / MAX_OBJECTS, rng.uniform(0.3, 0.7) * height])
    reach, turn, beat = rng.uniform(0.04, 0.07) * min(size), *(_draw_phase(rng, times_s) for _ in range(2))
    swings = np.array([path in (2, 4), path in (3, 4)])
    home = home + reach * np.array([np.sin(rng.uniform(0, 2 * np.pi)), np.cos(rng.uniform(0, 2 * np.pi))]) * ~swings
    poses = np.empty((len(times_s), 4))
    poses[:, 0] = home[0] + swings[0] * reach * np.cos(turn)
    poses[:, 1] = home[1] + swings[1] * reach * np.sin(turn)
    poses[:, 2] = rng.uniform(0, 2 * np.pi)
    share = 1 - np.abs(1 - beat / np.pi % 2) if pulses else np.full(len(times_s), rng.random())
    poses[:, 3] = SIZE_RANGE[0] + (SIZE_RANGE[1] - SIZE_RANGE[0]) * share
    return poses, frozenset(({path} if path > 1 or not pulses else set()) | ({5} if pulses else set()))


def _draw_phase(rng: np.random.Generator, times_s: np.ndarray) -> np.ndarray:
    """Two turns a second or a little less, begun anywhere, in radians."""
    return 2 * np.pi * (times_s / rng.uniform(0.48, 0.64) + rng.random())


def render_box_scene(box_scene: BoxScene) -> np.ndarray:
    """The video, uint8 (T, H, W, 3)."""
    scene, video = box_scene.scene, np.empty((len(box_scene.jitter), *box_scene.scene.size, 3), np.uint8)
    for t, shift in enumerate(box_scene.jitter):
        matrix = np.column_stack([np.eye(2), shift[:2] - MARGIN])
        frame = cv2.warpAffine(scene.background, matrix, scene.size[::-1], flags=cv2.INTER_LINEAR)
        for thing, poses in zip(scene.objects, box_scene.poses, strict=True):
            paste_object(frame, thing, poses[t] + shift)
        video[t] = np.rint(frame).clip(0, 255)
    return video


def compute_box(scene_object: SceneObject, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where a thing lies, whatever lies on it: x1, y1, x2, y2 as shares of the picture, float64 (4,)."""
    alone = np.zeros((*size, 3), np.float32)
    paste_object(alone, replace(scene_object, image=np.ones_like(scene_object.image)), pose)
    rows, columns = (np.flatnonzero((alone[..., 0] > 0.5).any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / [size[1], size[0], size[1], size[0]]


def list_keyframes(video: str, box_scene: BoxScene, fps: float) -> list[Keyframe]:
    """One each full second, but for the first and the last moment of the video."""
    found = []
    for second in range(1, round(len(box_scene.jitter) / fps)):
        t = int(second * fps + 1e-6)
        pairs = zip(box_scene.scene.objects, box_scene.poses, strict=True)
        boxes = [compute_box(thing, poses[t] + box_scene.jitter[t], box_scene.scene.size) for thing, poses in pairs]
        found.append(Keyframe(video, float(second), np.stack(boxes), box_scene.actions))
    return found


def make_box_set(
    out: Path, videos: int = 60, seed: int = 0, seconds: int = 4, size: tuple[int, int] = (96, 128),
    fps: float = 25.0, test_share: float = 0.3, on_progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Write `videos` H.264 files of `seconds` each, with train.csv, test.csv, labels.csv and synth.json.

    `size` is (height, width); `on_progress` gets (done, all). The same settings give the same files. Raises InputError
    for settings that can't be used, and for a folder that holds anything but this very set, whole or half-made.
    """
    _check_settings(videos, seconds, size, fps, test_share, seed)
    out = Path(out)
    settings = {"boxes": True, "videos": videos, "seed": seed, "seconds": seconds, "size": list(size), "fps": fps}
    settings["test_share"] = test_share
    claim_folder(out, settings)
    (out / "videos").mkdir(exist_ok=True)
    lists: dict[str, list[Keyframe]] = {"train": [], "test": []}
    for number in range(videos):
        split, name = assign_split(number, test_share), f"boxes_{number:04d}"
        drawn = draw_box_scene(seed, number, split, round(seconds * fps), size, fps)
        write_video(out / "videos" / f"{name}.mp4", render_box_scene(drawn), fps)
        lists[split] += list_keyframes(name, drawn, fps)
        if on_progress:
            on_progress(number + 1, videos)
    for split, found in lists.items():
        write_boxes(out / f"{split}.csv", found)
    (out / "labels.csv").write_text("id,name\n" + "".join(f"{n},{name}\n" for n, name in ACTIONS.items()))
    (out / "synth.json").write_text(json.dumps({"settings": settings, "complete": True}, indent=1) + "\n")


def _check_settings(videos: int, seconds: int, size: tuple[int, int], fps: float, test_share: float, seed: int) -> None:
    rules = [
        (videos >= 1, f"videos={videos}: at least 1"),
        (seconds >= 2, f"seconds={seconds}: the first keyframe comes after 1 second, so at least 2"),
        (min(size) >= 32 and not any(s % 2 for s in size), f"size={size}: height and width must be even, 32 or more"),
        (fps >= 4, f"fps={fps}: two turns a second need at least 4"),
        (0 <= test_share < 1, f"test_share={test_share}: must be at least 0 and less than 1"),
        (seed >= 0, f"seed={seed}: must be 0 or more"),
    ]
    for holds, message in rules:
        if not holds:
            raise InputError(message)
