"""Synthetic videos by their address, e.g. synthetic://all#12, or synthetic://no-camera,no-light#12 without these.

A video shows one motion in one look, two seconds at 25 frames a second. So what reads files (monitors, verdicts,
previews, `embed`) reads drawn videos too; training takes pairs of clips instead (pairs.py).
"""

from dataclasses import fields, replace

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.seeding import make_generator
from unreel.video.sources.paths import SYNTHETIC_SCHEME, normalize_path
from unreel.video.synthetic.motion import draw_motion
from unreel.video.synthetic.properties import SyntheticProperties
from unreel.video.synthetic.render import render_clip
from unreel.video.synthetic.scene import draw_look, draw_shot
from unreel.video.synthetic.textures import LookTextures

NUM_FRAMES, FPS, SIZE = 50, 25.0, (96, 128)
ALL, NO, LAST_NUMBER = "all", "no-", 2**31


def parse_address(address: str) -> tuple[SyntheticProperties, int]:
    """The properties and the number of a video; number 0 for the address of all of them. Raises InputError.

    >>> properties, number = parse_address("synthetic://no-camera,no-light#12")
    >>> properties.camera, properties.light, properties.many, number
    (False, False, True, 12)
    """
    names, _, number = normalize_path(address).removeprefix(f"{SYNTHETIC_SCHEME}://").partition("#")
    known = [field.name for field in fields(SyntheticProperties)]
    properties = SyntheticProperties()
    for name in names.split(","):
        if name == ALL:
            continue
        if name.removeprefix(NO) not in known or not name.startswith(NO):
            raise unknown_name_error(f"part of {address}", name, [ALL, *(NO + property for property in known)])
        properties = replace(properties, **{name.removeprefix(NO): False})
    if number and not (number.isdecimal() and int(number) < LAST_NUMBER):
        raise InputError(f"{address}: a synthetic video ends in #NUMBER, below {LAST_NUMBER}; got #{number}")
    return properties, int(number or 0)


def list_videos(address: str, count: int) -> list[str]:
    """The addresses of the first `count` videos; that of a single video alone.

    >>> list_videos("synthetic://all", 2)
    ['synthetic://all#0', 'synthetic://all#1']
    """
    whole = normalize_path(address)
    return [whole] if "#" in whole else [f"{whole}#{number}" for number in range(count)]


def draw_frames(address: str, frame_numbers: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Frames of a video by number, uint8 (len(frame_numbers), H, W, 3)."""
    properties, number = parse_address(address)
    if not len(frame_numbers):
        return np.zeros((0, *(size or SIZE), 3), np.uint8)
    if not 0 <= min(frame_numbers) <= max(frame_numbers) < NUM_FRAMES:
        raise InputError(f"{address} has frames 0 to {NUM_FRAMES - 1}")
    rng = make_generator(0, 0, number, "synthetic video")  # a purpose of its own: no training shows this motion
    motion = draw_motion(rng, properties)
    look, shot = draw_look(LookTextures(rng, properties.texture), rng, motion.is_limb), draw_shot(rng, properties)
    unique_numbers, rows = np.unique(frame_numbers, return_inverse=True)
    times_s = (unique_numbers - (NUM_FRAMES - 1) / 2) / FPS
    return render_clip(motion, look, shot, times_s, size or SIZE)[rows]
