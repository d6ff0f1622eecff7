"""Pairs of synthetic clips: the same motion twice in different looks, and the same looks with another motion.

Motions 2k and 2k + 1 share two looks, in opposite order: the second clip of one looks like the first of the other. So
what a pair has in common is its motion, and looks lead to the neighbour instead.
"""

from functools import lru_cache

import numpy as np

from unreel.seeding import make_generator
from unreel.video.synthetic.motion import draw_motion
from unreel.video.synthetic.properties import SyntheticProperties
from unreel.video.synthetic.render import render_clip
from unreel.video.synthetic.scene import draw_look, draw_shot
from unreel.video.synthetic.textures import LookTextures

MAX_CLIPS = 2


def draw_pair(
    seed: int,
    epoch: int,
    index: int,
    times_s: np.ndarray,
    size: tuple[int, int],
    properties: SyntheticProperties,
    num_clips: int = MAX_CLIPS,
) -> np.ndarray:
    """The clips of motion `index`, uint8 (num_clips, T, H, W, 3) at `times_s`: a function of its arguments.

    >>> draw_pair(0, 0, 3, np.arange(9) / 12.5, (36, 48), SyntheticProperties()).shape
    (2, 9, 36, 48, 3)
    """
    motion = draw_motion(make_generator(seed, epoch, index, "synthetic motion"), properties)
    clips = []
    for k in range(num_clips):
        textures = begin_textures(seed, epoch, 2 * (index // 2) + (index + k) % 2, properties.texture)
        rng = make_generator(seed, epoch, index, f"synthetic shot {k}")
        look = draw_look(textures, rng, motion.is_limb)
        clips.append(render_clip(motion, look, draw_shot(rng, properties), times_s, size))
    return np.stack(clips)


@lru_cache(maxsize=MAX_CLIPS)  # the neighbour comes next in a batch, so its textures are not drawn again
def begin_textures(seed: int, epoch: int, number: int, patterned: bool) -> LookTextures:
    """The textures of look `number`, those of which that were asked for are kept."""
    return LookTextures(make_generator(seed, epoch, number, "synthetic look"), patterned)
