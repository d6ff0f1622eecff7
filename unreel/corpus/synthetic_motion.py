"""Synthetic videos whose classes differ by motion alone: textured things on a textured ground, under camera jitter.

All that is drawn (look, place, size, angle, speed, phase, jitter) comes from streams that never see the class. Places
are uniform on a torus, angles on the circle, log sizes on an interval, and every motion leaves these distributions as
they are: one frame shows the same in every class. Any 8 frames show the motion; only looming starts anew at times.

Train and test share no texture: a texture is a function of (seed, number); train draws even numbers and test odd ones,
and even numbers take their hues from other sectors of the colour circle than odd ones. `synth.json` lists the numbers.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.seeding import make_generator
from unreel.video.decoding.decoder import write_video

NUM_OBJECTS, NUM_STILL_OBJECTS = 4, 1  # things in a scene, and how many of them move with the camera only
DIAMETER_RANGE = (0.22, 0.70)  # of the shorter side of the picture
MARGIN = 8  # pixels of ground beyond each border, for the jitter
RESTART_FRAMES = 3  # frames a looming thing takes to return to its first size
HUE_SECTORS = 12  # even ones colour the train set, odd ones the test set
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


@dataclass(frozen=True)
class SceneObject:
    """One object: its texture's number and picture (P, P, 3), its mask (P, P), and its x, y, angle and size at rest."""

    texture_number: int
    image: np.ndarray
    mask: np.ndarray
    rest_pose: np.ndarray


@dataclass(frozen=True)
class Scene:
    """All of a video but its motion; `ground` is (H + 2 MARGIN, W + 2 MARGIN, 3), the first STILLS things rest."""

    size: tuple[int, int]
    background_texture: int
    background: np.ndarray
    objects: list[SceneObject]

    def list_textures(self) -> list[int]:
        return [self.background_texture, *(thing.texture_number for thing in self.objects)]


def _draw_pattern(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A field in [0, 1] (H, W): noise, blobs, stripes or checkers of a random scale and direction."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kind, scale, turn = rng.integers(4), rng.uniform(9, 22), rng.uniform(0, np.pi)
    if kind < 2:
        grid = rng.random((int(height / scale * 2) + 3, int(width / scale * 2) + 3)).astype(np.float32)
        smooth = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip((smooth - 0.5) * (2 if kind == 0 else 12) + 0.5, 0, 1)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    wave = np.sin(np.pi * u / scale) * (1 if kind == 2 else np.sin(np.pi * v / scale))
    return np.clip(wave * rng.uniform(0.5, 4) + 0.5, 0, 1)


def draw_texture(seed: int, number: int, height: int, width: int) -> np.ndarray:
    """Texture `number`, float32 (H, W, 3) in [0, 255]: a pattern between a dark and a light colour."""
    rng = make_generator(seed, 0, number, "texture")
    sectors = 2 * rng.integers(HUE_SECTORS // 2, size=2) + number % 2
    hues = (sectors + rng.uniform(0.1, 0.9, 2)) * 360 / HUE_SECTORS
    values = [rng.uniform(0.1, 0.45), rng.uniform(0.7, 1.0)]
    hsv = np.stack([hues, rng.uniform(0.2, 0.9, 2), values], 1).astype(np.float32)
    dark, light = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] * 255
    return (dark + (light - dark) * _draw_pattern(rng, height, width)[..., None]).astype(np.float32)


def _draw_mask(rng: np.random.Generator, side: int) -> np.ndarray:
    """A soft-edged float32 mask (P, P): disc, triangle, square, star or blob, given by its radius at each angle."""
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2 - 2)
    angle, kind = np.arctan2(y, x), rng.integers(5)
    if kind == 0:
        radius = np.full_like(angle, 0.9)
    elif kind < 3:
        sector = 2 * np.pi / (kind + 2)
        radius = np.cos(sector / 2) / np.cos(angle % sector - sector / 2)
    elif kind == 3:
        radius = 0.72 + 0.28 * np.cos(rng.integers(4, 7) * angle)
    else:
        parts = [rng.normal() / k * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(1, 6)]
        radius = 1 + 0.35 * np.tanh(np.sum(parts, 0))
        radius /= radius.max()
    return np.clip((radius - np.hypot(x, y)) * side / 3 + 0.5, 0, 1).astype(np.float32)


def draw_scene(seed: int, index: int, split: str = "train", size: tuple[int, int] = (96, 128)) -> Scene:
    """Scene `index` of a split, `size` (height, width); the class has no part in it."""
    rng = make_generator(seed, 0, index, "scene")
    numbers = [2 * int(n) + int(split == "test") for n in rng.integers(2**30, size=1 + NUM_OBJECTS)]
    ground = draw_texture(seed, numbers[0], size[0] + 2 * MARGIN, size[1] + 2 * MARGIN)
    calm = rng.uniform(60, 190) + rng.uniform(0.25, 0.5) * (ground - ground.mean())
    side, things, corner = int(DIAMETER_RANGE[1] * min(size)), [], rng.random(2)
    for k, number in enumerate(numbers[1:]):
        x, y = np.array([k / NUM_OBJECTS, k % 2 / 2]) + corner + rng.uniform(-0.06, 0.06, 2)  # a lattice: few overlap
        pose = np.array([x * size[1], y * size[0], rng.uniform(0, 2 * np.pi), rng.random()])
        things.append(SceneObject(number, draw_texture(seed, number, side, side), _draw_mask(rng, side), pose))
    rng.shuffle(things)
    return Scene(size, numbers[0], np.clip(calm, 0, 255).astype(np.float32), things)


def _wrap_slices(start: int, length: int, period: int) -> list[tuple[slice, slice]]:
    """Where a stretch lies on a circle: (slice of the circle, slice of the stretch), two of them if it passes zero."""
    start %= period
    first = min(length, period - start)
    pieces = [(slice(start, start + first), slice(0, first))]
    return pieces if first == length else [*pieces, (slice(0, length - first), slice(first, length))]


def paste_object(frame: np.ndarray, scene_object: SceneObject, pose: np.ndarray) -> None:
    """Draw a thing onto float32 (H, W, 3) in place; what leaves at one border comes back at the opposite one."""
    x, y, angle, size = pose
    zoom, side = (DIAMETER_RANGE[0] / DIAMETER_RANGE[1]) ** (1 - size), len(scene_object.mask)
    box = int(zoom * side) + 4
    left, top = int(np.floor(x)) - box // 2, int(np.floor(y)) - box // 2
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.column_stack([turn, (x - left, y - top) - turn @ np.full(2, (side - 1) / 2)])
    look = cv2.warpAffine(
        scene_object.image, matrix, (box, box), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    alpha = cv2.warpAffine(scene_object.mask, matrix, (box, box), flags=cv2.INTER_LINEAR)
    for into_y, y_part in _wrap_slices(top, box, frame.shape[0]):
        for into_x, x_part in _wrap_slices(left, box, frame.shape[1]):
            under, over = frame[into_y, into_x], alpha[y_part, x_part]
            under[:] = cv2.blendLinear(look[y_part, x_part], under, over, 1 - over)


def draw_camera_jitter(seed: int, index: int, num_frames: int) -> np.ndarray:
    """Camera offsets as poses (T, 4): a random walk drawn back to the middle, never past the margin."""
    rng = make_generator(seed, 0, index, "jitter")
    walk = [rng.normal(0, 0.8, 2)]
    for step in rng.normal(0, 0.35, (num_frames - 1, 2)):
        walk.append(0.9 * walk[-1] + step)
    return np.pad(np.clip(walk, 1 - MARGIN, MARGIN - 1), ((0, 0), (0, 2)))


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
