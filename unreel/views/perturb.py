"""Clips that something of time is taken away from, for asking what an encoder finds without it.

Each operation maps uint8 clips (V, lead_in + T, H, W, C) of one video, an array or a tensor, to clips of the same type
and shape. Appearance is never repainted: but for "residual", every frame of the result is a frame of the clip.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch

from unreel.errors import InputError
from unreel.seeding import make_generator

MID_GREY = 128  # "nothing moved", in the middle of the range
Perturbation = Callable[[Any, int, int, int], Any]
"""(clips, lead_in, seed, index): `index` numbers the video, for what is drawn; the others ignore seed and index."""


def check_clips(operation: Callable[[np.ndarray, int, int, int], np.ndarray]) -> Perturbation:
    """The same operation for arrays and tensors, with clips that are none refused by InputError."""

    @wraps(operation)
    def either(clips: Any, lead_in: int = 0, seed: int = 0, index: int = 0) -> Any:
        frames = clips.cpu().numpy() if isinstance(clips, torch.Tensor) else np.asarray(clips)
        if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[1] <= lead_in:
            raise InputError(
                f"clips must be uint8 (V, {lead_in} + T, H, W, C), T at least 1, not {frames.dtype} {frames.shape}"
            )
        done = np.ascontiguousarray(operation(frames, lead_in, seed, index))
        return torch.from_numpy(done).to(clips.device) if isinstance(clips, torch.Tensor) else done

    return either


@check_clips
def freeze_time(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """The frame in the middle of the T, everywhere, the lead-in included: all motion gone.

    Left is one picture; lost is, beside motion, what the other frames show. A residual view sees nothing at all.
    """
    middle = lead_in + (clips.shape[1] - lead_in) // 2
    return np.repeat(clips[:, middle : middle + 1], clips.shape[1], axis=1)


@check_clips
def shuffle_time(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """The T frames in random order, never the one they have (for T >= 2); the lead-in stays in front.

    Left are all T pictures, so whatever ignores order finds exactly what it found before. A residual view sees jumps
    between frames that were not neighbours, larger than any real motion. One draw for each clip of the video, uniform
    over the other T! - 1 orders.
    """
    rng, num_frames = make_generator(seed, 0, index, "tamper"), clips.shape[1] - lead_in
    orders = [lead_in + sample_other_order(rng, num_frames) for _ in clips]
    kept = np.arange(lead_in)
    return np.stack([clip[np.concatenate([kept, order])] for clip, order in zip(clips, orders, strict=True)])


def sample_other_order(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """A permutation of T frames that is not the identity, each with the same chance; of one frame there is none."""
    order = rng.permutation(num_frames)
    while num_frames > 1 and (order == np.arange(num_frames)).all():
        order = rng.permutation(num_frames)
    return order


@check_clips
def reverse_time(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """All lead_in + T frames in reverse: every motion is there, and runs the wrong way.

    A residual view sees its own frames in reverse, each negated, without a made-up one. The price is that the frames
    after the lead-in are then those one lead-in earlier: the old lead-in ends the clip, the old last frame leads in.
    """
    return clips[:, ::-1]


@check_clips
def keep_motion(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """What changes only: 128 + (x[t] - x[t-1]) / 2, rounded towards 128, a picture that an RGB network can take.

    Left are edges of what moves, with the colours of the change; lost is everything that rests. The first frame has
    none before it and shows what the second shows. A residual view sees how motion changes. One frame gives flat 128.
    """
    if clips.shape[1] == 1:
        return np.full_like(clips, MID_GREY)
    change = np.diff(clips.astype(np.int16), axis=1)
    halved = MID_GREY + np.sign(change) * (np.abs(change) // 2)
    return np.concatenate([halved[:, :1], halved], axis=1).astype(np.uint8)


PERTURBATIONS: dict[str, Perturbation] = {
    "frozen": freeze_time,
    "shuffled": shuffle_time,
    "reversed": reverse_time,
    "residual": keep_motion,
}
