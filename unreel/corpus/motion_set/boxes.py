"""Synthetic videos with boxes: one to three textured objects on a textured background, each with its own motion.

As in `make_set`, random draws come from streams that do not see the motions, a single frame hardly tells them,
and train and test share no texture. Objects stay still, shake, nod or circle; each may pulse as well, so a box can have
two actions. The folder looks like AVA: `videos/`, `train.csv`, `test.csv` with a keyframe each second, `labels.csv`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unreel.corpus.labels.boxes import Keyframe, write_boxes
from unreel.corpus.motion_set.scene import (
    Scene,
    SceneObject,
    draw_camera_jitter,
    draw_scene,
    paste_object,
    render_scene,
)
from unreel.corpus.motion_set.set_folder import assign_split, check_settings, claim_folder, write_settings
from unreel.seeding import make_generator
from unreel.video.decoding.writer import write_video

ACTIONS = {1: "still", 2: "shake", 3: "nod", 4: "circle", 5: "pulse"}
PULSING_SHARE = 0.3  # share of the objects that also grow and shrink
SIZE_RANGE = (0.1, 0.55)  # of DIAMETER_RANGE, so that three objects fit beside each other
MAX_OBJECTS = 3


@dataclass(frozen=True)
class BoxScene:
    """A video: its scene, the poses (T, 4) and actions of each object, and the camera offsets (T, 4)."""

    scene: Scene
    poses: list[np.ndarray]
    actions: list[frozenset[int]]
    jitter: np.ndarray


def make_box_set(
    out: Path, videos: int = 60, seed: int = 0, seconds: int = 4, size: tuple[int, int] = (96, 128),
    fps: float = 25.0, test_share: float = 0.3, on_progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Write `videos` H.264 files of `seconds` each, with train.csv, test.csv, labels.csv and synth.json.

    `size` is (height, width); `on_progress` gets (done, total). The same settings give the same files. Raises
    InputError for settings that can't be used, and for a folder that holds anything but this set, complete or not.
    """
    rules = [
        (videos >= 1, f"videos={videos}: at least 1"),
        (seconds >= 2, f"seconds={seconds}: at least 2, as the first keyframe comes after 1 second"),
        (fps >= 4, f"fps={fps}: at least 4, to show two turns per second"),
    ]
    check_settings(rules, size, test_share, seed)
    out = Path(out)
    settings: dict[str, Any] = {"boxes": True, "videos": videos, "seed": seed, "seconds": seconds}
    settings |= {"size": list(size), "fps": fps, "test_share": test_share}
    claim_folder(out, settings)
    (out / "videos").mkdir(exist_ok=True)
    lists: dict[str, list[Keyframe]] = {"train": [], "test": []}
    for number in range(videos):
        split, name = assign_split(number, test_share), f"boxes_{number:04d}"
        box_scene = draw_box_scene(seed, number, split, round(seconds * fps), size, fps)
        write_video(out / "videos" / f"{name}.mp4", render_box_scene(box_scene), fps)
        lists[split] += list_keyframes(name, box_scene, fps)
        if on_progress:
            on_progress(number + 1, videos)
    for split, keyframes in lists.items():
        write_boxes(out / f"{split}.csv", keyframes)
    (out / "labels.csv").write_text("id,name\n" + "".join(f"{n},{name}\n" for n, name in ACTIONS.items()))
    write_settings(out, settings)


def draw_box_scene(seed: int, index: int, split: str, num_frames: int, size: tuple[int, int], fps: float) -> BoxScene:
    """Video `index` of a split, `size` (height, width)."""
    scene = draw_scene(seed, index, split, size)
    num_objects = int(make_generator(seed, 0, index, "count").integers(1, MAX_OBJECTS + 1))
    slots = make_generator(seed, 0, index, "slots").permutation(MAX_OBJECTS)[:num_objects].tolist()
    times_s = np.arange(num_frames) / fps
    motions = [_draw_object_motion(seed, index * MAX_OBJECTS + slot, slot, times_s, size) for slot in slots]
    return BoxScene(
        replace(scene, objects=scene.objects[:num_objects]),
        [poses for poses, _ in motions],
        [actions for _, actions in motions],
        draw_camera_jitter(seed, index, num_frames),
    )


def _draw_object_motion(
    seed: int, number: int, slot: int, times_s: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, frozenset[int]]:
    """Poses x, y, angle, size (T, 4) of one object, and its actions."""
    action_rng = make_generator(seed, 0, number, "action")
    path, pulses = int(action_rng.integers(1, 5)), bool(action_rng.random() < PULSING_SHARE)
    rng, (height, width) = make_generator(seed, 0, number, "pose"), size
    centre = np.array([(slot + rng.uniform(0.4, 0.6)) * width / MAX_OBJECTS, rng.uniform(0.3, 0.7) * height])
    radius, turn, beat = rng.uniform(0.04, 0.07) * min(size), *(_draw_phase(rng, times_s) for _ in range(2))
    swings = np.array([path in (2, 4), path in (3, 4)])
    centre = (
        centre + radius * np.array([np.sin(rng.uniform(0, 2 * np.pi)), np.cos(rng.uniform(0, 2 * np.pi))]) * ~swings
    )
    poses = np.empty((len(times_s), 4))
    poses[:, 0] = centre[0] + swings[0] * radius * np.cos(turn)
    poses[:, 1] = centre[1] + swings[1] * radius * np.sin(turn)
    poses[:, 2] = rng.uniform(0, 2 * np.pi)
    share = 1 - np.abs(1 - beat / np.pi % 2) if pulses else np.full(len(times_s), rng.random())
    poses[:, 3] = SIZE_RANGE[0] + (SIZE_RANGE[1] - SIZE_RANGE[0]) * share
    return poses, frozenset(({path} if path > 1 or not pulses else set()) | ({5} if pulses else set()))


def _draw_phase(rng: np.random.Generator, times_s: np.ndarray) -> np.ndarray:
    """The angle in radians of about two turns per second, from a random start; (T,)."""
    return 2 * np.pi * (times_s / rng.uniform(0.48, 0.64) + rng.random())


def render_box_scene(box_scene: BoxScene) -> np.ndarray:
    """The video, uint8 (T, H, W, 3)."""
    return render_scene(box_scene.scene, box_scene.poses, box_scene.jitter)


def compute_box(scene_object: SceneObject, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The box of an object, also where others cover it: x1, y1, x2, y2 as shares of the frame, float64 (4,)."""
    frame = np.zeros((*size, 3), np.float32)
    paste_object(frame, replace(scene_object, image=np.ones_like(scene_object.image)), pose)
    rows, columns = (np.flatnonzero((frame[..., 0] > 0.5).any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / [size[1], size[0], size[1], size[0]]


def list_keyframes(video: str, box_scene: BoxScene, fps: float) -> list[Keyframe]:
    """A keyframe at each full second, except at the start and the end of the video."""
    keyframes = []
    for second in range(1, round(len(box_scene.jitter) / fps)):
        t = int(second * fps + 1e-6)
        pairs = zip(box_scene.scene.objects, box_scene.poses, strict=True)
        boxes = [compute_box(o, poses[t] + box_scene.jitter[t], box_scene.scene.size) for o, poses in pairs]
        keyframes.append(Keyframe(video, float(second), np.stack(boxes), box_scene.actions))
    return keyframes
