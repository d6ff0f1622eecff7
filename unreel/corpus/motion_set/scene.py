"""Scenes of synthetic videos: textured objects on a textured background, drawn without regard to the class.

A texture is a function of (seed, number). Even numbers take their hues from other sectors of the colour circle than odd
ones; train draws even numbers and test odd ones, so that they share no texture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from unreel.seeding import make_generator

NUM_OBJECTS, NUM_STILL_OBJECTS = 4, 1  # objects of a scene, and how many of them move with the camera only
DIAMETER_RANGE = (0.22, 0.70)  # of an object, as a share of the shorter side of the frame
MARGIN = 8  # pixels of background beyond each border, for the camera jitter
HUE_SECTORS = 12  # even ones colour the training set, odd ones the test set


@dataclass(frozen=True)
class SceneObject:
    """One object: its texture's number and image (P, P, 3), its mask (P, P), and its x, y, angle and size at rest."""

    texture_number: int
    image: np.ndarray
    mask: np.ndarray
    rest_pose: np.ndarray


@dataclass(frozen=True)
class Scene:
    """All of a video except its motion.

    `background` is (H + 2 MARGIN, W + 2 MARGIN, 3); the first NUM_STILL_OBJECTS objects do not move.
    """

    size: tuple[int, int]
    background_texture: int
    background: np.ndarray
    objects: list[SceneObject]

    def list_textures(self) -> list[int]:
        """The numbers of all textures."""
        return [self.background_texture, *(scene_object.texture_number for scene_object in self.objects)]


def draw_scene(seed: int, index: int, split: str = "train", size: tuple[int, int] = (96, 128)) -> Scene:
    """Scene `index` of a split, `size` (height, width); it does not depend on the class."""
    rng = make_generator(seed, 0, index, "scene")
    numbers = [2 * int(n) + int(split == "test") for n in rng.integers(2**30, size=1 + NUM_OBJECTS)]
    texture = draw_texture(seed, numbers[0], size[0] + 2 * MARGIN, size[1] + 2 * MARGIN)
    background = rng.uniform(60, 190) + rng.uniform(0.25, 0.5) * (texture - texture.mean())  # of low contrast
    side, objects, corner = int(DIAMETER_RANGE[1] * min(size)), [], rng.random(2)
    for k, number in enumerate(numbers[1:]):
        x, y = np.array([k / NUM_OBJECTS, k % 2 / 2]) + corner + rng.uniform(-0.06, 0.06, 2)  # a lattice: few overlap
        pose = np.array([x * size[1], y * size[0], rng.uniform(0, 2 * np.pi), rng.random()])
        objects.append(SceneObject(number, draw_texture(seed, number, side, side), _draw_mask(rng, side), pose))
    rng.shuffle(objects)
    return Scene(size, numbers[0], np.clip(background, 0, 255).astype(np.float32), objects)


def draw_texture(seed: int, number: int, height: int, width: int) -> np.ndarray:
    """Texture `number`, float32 (H, W, 3) in [0, 255]: a pattern between a dark and a light colour."""
    rng = make_generator(seed, 0, number, "texture")
    sectors = 2 * rng.integers(HUE_SECTORS // 2, size=2) + number % 2
    hues = (sectors + rng.uniform(0.1, 0.9, 2)) * 360 / HUE_SECTORS
    values = [rng.uniform(0.1, 0.45), rng.uniform(0.7, 1.0)]
    hsv = np.stack([hues, rng.uniform(0.2, 0.9, 2), values], 1).astype(np.float32)
    dark, light = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] * 255
    return (dark + (light - dark) * _draw_pattern(rng, height, width)[..., None]).astype(np.float32)


def _draw_pattern(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A field in [0, 1] (H, W): noise, blobs, stripes or a chequerboard of random scale and direction."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kind, scale, angle = rng.integers(4), rng.uniform(9, 22), rng.uniform(0, np.pi)
    if kind < 2:
        grid = rng.random((int(height / scale * 2) + 3, int(width / scale * 2) + 3)).astype(np.float32)
        smooth = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip((smooth - 0.5) * (2 if kind == 0 else 12) + 0.5, 0, 1)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    wave = np.sin(np.pi * u / scale) * (1 if kind == 2 else np.sin(np.pi * v / scale))
    return np.clip(wave * rng.uniform(0.5, 4) + 0.5, 0, 1)


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
        harmonics = [rng.normal() / k * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(1, 6)]
        radius = 1 + 0.35 * np.tanh(np.sum(harmonics, 0))
        radius /= radius.max()
    return np.clip((radius - np.hypot(x, y)) * side / 3 + 0.5, 0, 1).astype(np.float32)


def draw_camera_jitter(seed: int, index: int, num_frames: int) -> np.ndarray:
    """Camera offsets as poses (T, 4): a random walk drawn back to the middle, always within the margin."""
    rng = make_generator(seed, 0, index, "jitter")
    walk = [rng.normal(0, 0.8, 2)]
    for step in rng.normal(0, 0.35, (num_frames - 1, 2)):
        walk.append(0.9 * walk[-1] + step)
    return np.pad(np.clip(walk, 1 - MARGIN, MARGIN - 1), ((0, 0), (0, 2)))


def render_scene(scene: Scene, poses: Sequence[np.ndarray], jitter: np.ndarray) -> np.ndarray:
    """The video, uint8 (T, H, W, 3), of a scene with the poses (T, 4) of each object and the camera offsets (T, 4)."""
    video = np.empty((len(jitter), *scene.size, 3), np.uint8)
    for t, offset in enumerate(jitter):
        matrix = np.column_stack([np.eye(2), offset[:2] - MARGIN])
        frame = cv2.warpAffine(scene.background, matrix, scene.size[::-1], flags=cv2.INTER_LINEAR)
        for scene_object, object_poses in zip(scene.objects, poses, strict=True):
            paste_object(frame, scene_object, object_poses[t] + offset)
        video[t] = np.rint(frame).clip(0, 255)
    return video


def paste_object(frame: np.ndarray, scene_object: SceneObject, pose: np.ndarray) -> None:
    """Draw an object onto float32 (H, W, 3) in place; parts beyond one border appear at the opposite one."""
    x, y, angle, size = pose
    zoom, side = (DIAMETER_RANGE[0] / DIAMETER_RANGE[1]) ** (1 - size), len(scene_object.mask)
    box = int(zoom * side) + 4
    left, top = int(np.floor(x)) - box // 2, int(np.floor(y)) - box // 2
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    matrix = np.column_stack([rotation, (x - left, y - top) - rotation @ np.full(2, (side - 1) / 2)])
    image = cv2.warpAffine(
        scene_object.image, matrix, (box, box), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = cv2.warpAffine(scene_object.mask, matrix, (box, box), flags=cv2.INTER_LINEAR)
    for frame_rows, rows in _wrap_slices(top, box, frame.shape[0]):
        for frame_columns, columns in _wrap_slices(left, box, frame.shape[1]):
            target, alpha = frame[frame_rows, frame_columns], mask[rows, columns]
            target[:] = cv2.blendLinear(image[rows, columns], target, alpha, 1 - alpha)


def _wrap_slices(start: int, length: int, period: int) -> list[tuple[slice, slice]]:
    """Where an interval lies on a circle: (slice of the circle, slice of the interval), two pairs if it passes zero."""
    start %= period
    first = min(length, period - start)
    pieces = [(slice(start, start + first), slice(0, first))]
    return pieces if first == length else [*pieces, (slice(0, length - first), slice(first, length))]
