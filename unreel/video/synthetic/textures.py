"""Textures and outlines of synthetic clips, drawn from a generator: no two looks are alike."""

import cv2
import numpy as np

SPRITE_SIDE = 32  # pixels of the picture of a part
BACKGROUND_SIDE = 80
NOISE_CELLS = (3, 5, 9, 17, 33)  # of value noise along a side, one octave each


def draw_texture(rng: np.random.Generator, side: int, patterned: bool = True) -> np.ndarray:
    """A square texture, float32 (P, P, 3) in [0, 1]: noise of several octaves, stripes, checks or one plain colour.

    >>> draw_texture(np.random.default_rng(0), 16).shape
    (16, 16, 3)
    """
    kind = rng.integers(8) if patterned else 7
    if kind == 7:
        return np.broadcast_to(rng.random(3, dtype=np.float32), (side, side, 3)).copy()
    if kind < 5:
        return _draw_noise(rng, side, channels=3 if kind < 2 else 1)
    return _mix_colours(rng, _draw_grating(rng, side, crossed=kind == 6))


class LookTextures:
    """The textures of a look: number 0 is the background's, the others are the parts' in their order.

    They come from one generator, each when it or a later one is first asked for, and are kept.
    """

    def __init__(self, rng: np.random.Generator, patterned: bool) -> None:
        self.rng, self.patterned = rng, patterned
        self.drawn: list[np.ndarray] = []

    def __getitem__(self, number: int) -> np.ndarray:
        """Texture `number`, float32 (P, P, 3)."""
        while number >= len(self.drawn):
            side = SPRITE_SIDE if self.drawn else BACKGROUND_SIDE
            self.drawn.append(draw_texture(self.rng, side, self.patterned))
        return self.drawn[number]


def _draw_noise(rng: np.random.Generator, side: int, channels: int) -> np.ndarray:
    """Value noise: one to three octaves, coloured in each channel alone or between two colours."""
    total = np.zeros((side, side, channels), np.float32)
    for cells in rng.choice(NOISE_CELLS, size=rng.integers(1, 4), replace=False):
        grid = rng.random((cells, cells, channels), dtype=np.float32)
        noise = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        total += noise.reshape(side, side, channels) * float(rng.uniform(0.3, 1.0))
    low, high = total.min(), total.max()
    total = (total - low) / max(float(high - low), 1e-6)
    return total if channels == 3 else _mix_colours(rng, total)


def _draw_grating(rng: np.random.Generator, side: int, crossed: bool) -> np.ndarray:
    """Stripes of any direction and width, soft or hard; crossed, they are a chequerboard. (P, P, 1) in [0, 1]."""
    angle, waves, hardness = rng.uniform(0, np.pi), rng.uniform(1.0, side / 5), rng.uniform(1.0, 6.0)
    along = np.linspace(-np.pi * waves, np.pi * waves, side, dtype=np.float32)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = along[None] * cos + along[:, None] * sin, along[:, None] * cos - along[None] * sin
    wave = np.sin(u) * (np.sin(v) if crossed else 1)
    return np.clip(0.5 + 0.5 * np.float32(hardness) * wave, 0, 1)[..., None]


def _mix_colours(rng: np.random.Generator, field_PP1: np.ndarray) -> np.ndarray:
    first, second = rng.random((2, 3), dtype=np.float32)
    mixed: np.ndarray = first + (second - first) * field_PP1
    return mixed


def draw_outline(rng: np.random.Generator, side: int, slender: bool = False) -> np.ndarray:
    """A mask with soft edges, float32 (P, P) in [0, 1]: an ellipse, a box, a polygon or a star; `slender` is a limb.

    >>> draw_outline(np.random.default_rng(0), 16).shape
    (16, 16)
    """
    scale = 4  # drawn larger, so that edges are soft
    mask, middle, large = np.zeros((scale * side, scale * side), np.uint8), scale * side // 2, 0.47 * scale * side
    width = large * rng.uniform(0.18, 0.4) if slender else large * rng.uniform(0.4, 1.0)
    kind = rng.integers(2) if slender else rng.integers(4)
    if kind == 0:
        cv2.ellipse(mask, (middle, middle), (int(width), int(large)), 0, 0, 360, 255, -1)
    elif kind == 1:
        corner = int(middle - width), int(middle - large)
        cv2.rectangle(mask, corner, (int(middle + width), int(middle + large)), 255, -1)
    else:
        corners = rng.integers(3, 9)
        angles = (np.arange(2 * corners) + rng.uniform(-0.35, 0.35, 2 * corners)) * np.pi / corners
        radii = large * np.where(np.arange(2 * corners) % 2, rng.uniform(0.35, 0.95), 1.0) * rng.uniform(0.7, 1.0)
        points = np.stack([middle + radii * np.cos(angles) * width / large, middle + radii * np.sin(angles)], axis=1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 255)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
