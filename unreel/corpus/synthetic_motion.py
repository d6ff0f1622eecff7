"""Synthetic videos whose classes differ by motion alone: textured things on a textured ground, under camera jitter.

All that is drawn (look, place, size, angle, speed, phase, jitter) comes from streams that never see the class. Places
are uniform on a torus, angles on the circle, log sizes on an interval, and every motion leaves these distributions as
they are: one frame shows the same in every class. Any 8 frames show the motion; only looming starts anew at times.

Train and test share no texture: a texture is a function of (seed, number); train draws even numbers and test odd ones,
and even numbers take their hues from other sectors of the colour circle than odd ones. `synth.json` lists the numbers.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from unreel.corpus.synthetic_scene import (
    MARGIN,
    NUM_OBJECTS,
    NUM_STILL_OBJECTS,
    Scene,
    draw_camera_jitter,
    draw_scene,
    paste_object,
)
from unreel.errors import InputError, unknown_name_error
from unreel.seeding import make_generator
from unreel.video.decoding.writer import write_video

RESTART_FRAMES = 3  # frames a looming thing takes to return to its first size
RADIANS_PER_PIXEL = 0.05  # a turn that moves the rim of a middling thing by a pixel
POSE_FIELDS = ("x", "y", "angle", "size")


# What moves along which of `_curves`: x right, y down, angle clockwise, size. A minus turns the curve round.
# The first eight are eight kinds of motion; their mirrored and reversed twins come after.
MOTIONS: dict[str, dict[str, str]] = {
    "drift_left": {"x": "-line"},
    "drift_up": {"y": "-line"},
    "spin_clockwise": {"angle": "line"},
    "loom_in": {"size": "grow"},
    "sway": {"x": "wave"},
    "bob": {"y": "wave"},
    "orbit_clockwise": {"x": "cosine", "y": "sine"},
    "pulse": {"size": "pulse"},
    "drift_right": {"x": "line"},
    "drift_down": {"y": "line"},
    "spin_counterclockwise": {"angle": "-line"},
    "loom_out": {"size": "shrink"},
    "orbit_counterclockwise": {"x": "cosine", "y": "-sine"},
    "rock": {"angle": "wave"},
}


def _compute_curves(t: np.ndarray, speed: float, period: float, phase: float) -> dict[str, np.ndarray]:
    """Pixels at 96 lines of mean speed `speed`; grow, shrink and pulse are sizes, linear so that they stay uniform."""
    turn, radius, loom = 2 * np.pi * (t / period + phase), speed * period / (2 * np.pi), 2.5 * period
    at = (t + phase * loom) % loom
    grow = np.minimum(at / (loom - RESTART_FRAMES), (loom - at) / RESTART_FRAMES)
    pulse = 1 - np.abs(1 - 2 * ((t / period + phase) % 1))
    curves = {"line": speed * t, "wave": speed * period / 4 * np.sin(turn), "grow": grow, "shrink": 1 - grow}
    return curves | {"pulse": pulse, "cosine": radius * np.cos(turn), "sine": radius * np.sin(turn)}


def _compute_poses(scene: Scene, motion: str, seed: int, index: int, num_frames: int) -> np.ndarray:
    """x, y, angle and size of every thing at every frame, without the jitter; (THINGS, T, 4)."""
    rng, t, scale = make_generator(seed, 0, index, "pace"), np.arange(num_frames), min(scene.size) / 96
    speed, period, phases = rng.uniform(2.5, 4.5), rng.uniform(12, 16), rng.random(NUM_OBJECTS)
    poses = np.stack([np.tile(thing.rest_pose, (num_frames, 1)) for thing in scene.objects])
    for pose, phase in zip(poses[NUM_STILL_OBJECTS:], phases[NUM_STILL_OBJECTS:], strict=True):
        curves = _compute_curves(t, speed, period, phase)
        for part, name in MOTIONS[motion].items():
            curve = -curves[name[1:]] if name[0] == "-" else curves[name]
            if part == "size":
                pose[:, 3] = curve
            else:
                pose[:, POSE_FIELDS.index(part)] += curve * (RADIANS_PER_PIXEL if part == "angle" else scale)
    return poses


def animate_scene(scene: Scene, motion: str, seed: int, index: int, num_frames: int) -> np.ndarray:
    """The scene with all but its still things in motion; uint8 (T, H, W, 3)."""
    poses, video = (
        _compute_poses(scene, motion, seed, index, num_frames),
        np.empty((num_frames, *scene.size, 3), np.uint8),
    )
    for t, shift in enumerate(draw_camera_jitter(seed, index, num_frames)):
        matrix = np.column_stack([np.eye(2), shift[:2] - MARGIN])
        frame = cv2.warpAffine(scene.background, matrix, scene.size[::-1], flags=cv2.INTER_LINEAR)
        for thing, pose in zip(scene.objects, poses[:, t], strict=True):
            paste_object(frame, thing, pose + shift)
        video[t] = np.rint(frame).clip(0, 255)
    return video


def render_video(
    motion: str, seed: int, index: int, split: str = "train", num_frames: int = 48, size: tuple[int, int] = (96, 128)
) -> np.ndarray:
    """One video, uint8 (T, H, W, 3): scene `index` of the split under one of MOTIONS. Raises InputError for another."""
    if motion not in MOTIONS:
        raise unknown_name_error("motion", motion, MOTIONS)
    return animate_scene(draw_scene(seed, index, split, size), motion, seed, index, num_frames)


def assign_split(number: int, test_share: float) -> str:
    """Spread the test videos evenly over the numbers, so that a longer set keeps the splits of a shorter one."""
    return "test" if int((number + 1) * test_share + 0.5) > int(number * test_share + 0.5) else "train"


def make_set(
    out: Path, classes: int = 8, videos: int = 40, seed: int = 0, frames: int = 48, size: tuple[int, int] = (96, 128),
    fps: float = 25.0, test_share: float = 0.3, on_progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Write `videos` H.264 files of each of the first `classes` MOTIONS, train.txt, test.txt and synth.json.

    `size` is (height, width); `on_progress` gets (done, all). Raises InputError for settings that can't be used, and
    for a folder that holds anything but this very set, whole or half-made.
    """
    _check_settings(classes, videos, frames, size, fps, test_share)
    if seed < 0:
        raise InputError(f"seed={seed}: must be 0 or more")
    out, names = Path(out), list(MOTIONS)[:classes]
    settings = {"classes": names, "videos": videos, "seed": seed, "frames": frames, "size": list(size), "fps": fps}
    settings["test_share"] = test_share
    claim_folder(out, settings)
    lists: dict[str, list[str]] = {"train": [], "test": []}
    textures: dict[str, list[int]] = {}
    for done, (name, number) in enumerate((name, number) for name in names for number in range(videos)):
        split, path = assign_split(number, test_share), f"{name}/{name}_{number:04d}.mp4"
        index = number * len(MOTIONS) + names.index(name)
        scene = draw_scene(seed, index, split, size)
        (out / name).mkdir(exist_ok=True)
        write_video(out / path, animate_scene(scene, name, seed, index, frames), fps)
        lists[split].append(path)
        textures[path] = scene.list_textures()
        if on_progress:
            on_progress(done + 1, classes * videos)
    for split, paths in lists.items():
        (out / f"{split}.txt").write_text("".join(f"{path}\n" for path in paths))
    content = {"settings": settings, "complete": True, "textures": textures}
    (out / "synth.json").write_text(json.dumps(content, indent=1) + "\n")


def _check_settings(
    classes: int, videos: int, frames: int, size: tuple[int, int], fps: float, test_share: float
) -> None:
    rules = [
        (1 <= classes <= len(MOTIONS), f"classes={classes}: choose 1 to {len(MOTIONS)} of {', '.join(MOTIONS)}"),
        (videos >= 1, f"videos={videos}: each class needs at least 1"),
        (frames >= 2, f"frames={frames}: motion needs at least 2"),
        (min(size) >= 32 and not any(s % 2 for s in size), f"size={size}: height and width must be even, 32 or more"),
        (fps > 0, f"fps={fps}: must be positive"),
        (0 <= test_share < 1, f"test_share={test_share}: must be at least 0 and less than 1"),
    ]
    for holds, message in rules:
        if not holds:
            raise InputError(message)


def claim_folder(out: Path, settings: dict[str, object]) -> None:
    """Take a new or empty folder, or one that holds this very set, perhaps half-made."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a new folder for the synthetic set")
    note = out / "synth.json"
    if not note.exists() and out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and holds no synthetic set; name a new folder")
    if note.exists() and (held := _read_settings(note)) != settings:
        raise InputError(f"{out} holds a synthetic set of other settings ({held}); name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"settings": settings, "complete": False}, indent=1) + "\n")


def _read_settings(path: Path) -> object:
    try:
        return json.loads(path.read_text())["settings"]
    except (ValueError, KeyError, TypeError):
        return "not readable"
