"""What differs between the two clips of a pair: pictures, camera, light, and where and when the motion is seen."""

from dataclasses import dataclass

import numpy as np

from unreel.video.synthetic.motion import Wave
from unreel.video.synthetic.properties import SyntheticProperties
from unreel.video.synthetic.textures import SPRITE_SIDE, LookTextures, draw_outline


@dataclass(frozen=True)
class Look:
    """Pictures, uint8 (P, P, 4) each: the background, and of each part its colours times its opacity and, in the last
    channel, what its opacity leaves of what is behind it."""

    background: np.ndarray
    sprites: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Shot:
    """How a motion is filmed.

    shift (heights of the frame), scale, pace and delay_s: where, how large, how fast and how late the motion is seen.
    pan (heights per second), zoom (log scale per second), shake (heights): the camera. drift (heights per second): the
    background's own motion. light and flicker: brightness, and its change as a share.
    """

    shift: tuple[float, float]
    scale: float
    pace: float
    delay_s: float
    pan: tuple[float, float]
    zoom: float
    shake: tuple[Wave, Wave]
    drift: tuple[float, float]
    light: float
    flicker: Wave


def draw_look(textures: LookTextures, shape_rng: np.random.Generator, is_limb: tuple[bool, ...]) -> Look:
    """A background and a picture for each part, limbs slender; outlines come from `shape_rng`. Motions that share their
    textures have as many in common as the one with fewer parts has."""
    background, sprites = textures[0], []
    for number, slender in enumerate(is_limb, start=1):
        texture = textures[number]
        opacity = draw_outline(shape_rng, SPRITE_SIDE, slender)[..., None]
        sprites.append(_to_picture(texture * opacity, 1 - opacity))
    return Look(_to_picture(background, np.zeros_like(background[..., :1])), tuple(sprites))


def _to_picture(colours_PP3: np.ndarray, rest_PP1: np.ndarray) -> np.ndarray:
    """uint8 (P, P, 4) of floats in [0, 1]."""
    return np.rint(np.concatenate([colours_PP3, rest_PP1], axis=2) * 255).astype(np.uint8)


def draw_shot(rng: np.random.Generator, on: SyntheticProperties) -> Shot:
    """Half of the cameras stand still."""
    moves = on.camera and rng.random() < 0.5
    flicker = rng.uniform(0.05, 0.3) * (on.light and rng.random() < 0.25)
    return Shot(
        shift=(rng.normal(0, 0.08), rng.normal(0, 0.08)),
        scale=float(np.exp(rng.normal(0, 0.15))),
        pace=float(np.exp(rng.normal(0, 0.1))),
        delay_s=rng.uniform(-0.15, 0.15),
        pan=(moves * rng.normal(0, 0.25), moves * rng.normal(0, 0.12)),
        zoom=moves * rng.normal(0, 0.15),
        shake=(_draw_shake(rng, moves), _draw_shake(rng, moves)),
        drift=tuple(rng.normal(0, 0.15, 2) * (on.background and rng.random() < 0.15)),
        light=rng.uniform(0.6, 1.15),
        flicker=Wave(flicker, rng.uniform(1, 12), rng.uniform(0, 6)),
    )


def _draw_shake(rng: np.random.Generator, moves: bool) -> Wave:
    """A wave of 3 to 10 Hz."""
    return Wave(moves * rng.uniform(0, 0.015), rng.uniform(20, 60), rng.uniform(0, 2 * np.pi))
