"""Synthetic videos whose classes differ by motion alone: textured objects on a textured background, camera jitter.

All random draws (look, place, size, angle, speed, phase, jitter) come from streams that never see the class. Places are
uniform on a torus, angles on the circle, log sizes on an interval, and every motion leaves these distributions as they
are. So a single frame does not tell the class. Any 8 frames show the motion; only looming restarts now and then.

Train and test share no texture (see `scene.py`); `synth.json` lists the textures of each video.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unreel.corpus.motion_set.scene import (
    NUM_OBJECTS,
    NUM_STILL_OBJECTS,
    Scene,
    draw_camera_jitter,
    draw_scene,
    render_scene,
)
from unreel.corpus.motion_set.set_folder import assign_split, check_settings, claim_folder, write_settings
from unreel.errors import unknown_name_error
from unreel.seeding import make_generator
from unreel.video.decoding.writer import write_video

RESTART_FRAMES = 3  # frames in which a looming object returns to its first size
RADIANS_PER_PIXEL = 0.05  # a rotation that moves the rim of an object of middle size by a pixel
POSE_FIELDS = ("x", "y", "angle", "size")

# The pose field that follows each curve of `_compute_curves`: x right, y down, angle clockwise, size; a minus negates.
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


def make_set(
    out: Path, classes: int = 8, videos: int = 40, seed: int = 0, frames: int = 48, size: tuple[int, int] = (96, 128),
    fps: float = 25.0, test_share: float = 0.3, on_progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Write synthetic videos whose classes differ by motion alone, with train.txt, test.txt and synth.json.

    Args:
        out: folder to write.
        classes: number of classes, the first ones of MOTIONS.
        videos: H.264 files of each class.
        seed: seed of all random draws.
        frames: frames of each video.
        size: (height, width) in pixels.
        fps: frames per second.
        test_share: share (0 to 1) of the videos in test.txt.
        on_progress: called with the videos done and their total.

    Raises:
        InputError: a setting can't be used, or the folder holds anything but this set, complete or not.

    >>> unreel.make_set(out, classes=2, videos=3, frames=8, size=(32, 48))
    >>> sorted(path.name for path in out.iterdir())
    ['drift_left', 'drift_up', 'synth.json', 'test.txt', 'train.txt']
    """
    rules = [
        (1 <= classes <= len(MOTIONS), f"classes={classes}: choose 1 to {len(MOTIONS)} of {', '.join(MOTIONS)}"),
        (videos >= 1, f"videos={videos}: each class needs at least 1"),
        (frames >= 2, f"frames={frames}: motion needs at least 2"),
        (fps > 0, f"fps={fps}: must be positive"),
    ]
    check_settings(rules, size, test_share, seed)
    out, names = Path(out), list(MOTIONS)[:classes]
    settings: dict[str, Any] = {"classes": names, "videos": videos, "seed": seed, "frames": frames}
    settings |= {"size": list(size), "fps": fps, "test_share": test_share}
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
    write_settings(out, settings, textures=textures)


def render_video(
    motion: str, seed: int, index: int, split: str = "train", num_frames: int = 48, size: tuple[int, int] = (96, 128)
) -> np.ndarray:
    """One video, uint8 (T, H, W, 3): scene `index` of the split under one of MOTIONS. Raises InputError for another."""
    if motion not in MOTIONS:
        raise unknown_name_error("motion", motion, MOTIONS)
    return animate_scene(draw_scene(seed, index, split, size), motion, seed, index, num_frames)


def animate_scene(scene: Scene, motion: str, seed: int, index: int, num_frames: int) -> np.ndarray:
    """The scene with its objects in motion, except the still ones; uint8 (T, H, W, 3)."""
    poses = compute_poses(scene, motion, seed, index, num_frames)
    return render_scene(scene, list(poses), draw_camera_jitter(seed, index, num_frames))


def compute_poses(scene: Scene, motion: str, seed: int, index: int, num_frames: int) -> np.ndarray:
    """x, y, angle and size of every object in every frame, without the jitter; (NUM_OBJECTS, T, 4)."""
    rng, t, scale = make_generator(seed, 0, index, "pace"), np.arange(num_frames), min(scene.size) / 96
    speed, period, phases = rng.uniform(2.5, 4.5), rng.uniform(12, 16), rng.random(NUM_OBJECTS)
    poses = np.stack([np.tile(scene_object.rest_pose, (num_frames, 1)) for scene_object in scene.objects])
    for pose, phase in zip(poses[NUM_STILL_OBJECTS:], phases[NUM_STILL_OBJECTS:], strict=True):
        curves = _compute_curves(t, speed, period, phase)
        for field, name in MOTIONS[motion].items():
            curve = -curves[name[1:]] if name[0] == "-" else curves[name]
            if field == "size":
                pose[:, 3] = curve
            else:
                pose[:, POSE_FIELDS.index(field)] += curve * (RADIANS_PER_PIXEL if field == "angle" else scale)
    return poses


def _compute_curves(t: np.ndarray, speed: float, period: float, phase: float) -> dict[str, np.ndarray]:
    """Offsets over time in pixels at 96 lines, of mean speed `speed`; grow, shrink and pulse are sizes in [0, 1].

    Sizes change linearly, so that they stay uniformly distributed.
    """
    angle, radius, loom_period = 2 * np.pi * (t / period + phase), speed * period / (2 * np.pi), 2.5 * period
    loom_t = (t + phase * loom_period) % loom_period
    grow = np.minimum(loom_t / (loom_period - RESTART_FRAMES), (loom_period - loom_t) / RESTART_FRAMES)
    return {
        "line": speed * t,
        "wave": speed * period / 4 * np.sin(angle),
        "grow": grow,
        "shrink": 1 - grow,
        "pulse": 1 - np.abs(1 - 2 * ((t / period + phase) % 1)),
        "cosine": radius * np.cos(angle),
        "sine": radius * np.sin(angle),
    }
