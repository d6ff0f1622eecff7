"""Clips with part of their temporal information removed, to measure what an encoder finds without it.

Each operation maps uint8 clips (V, lead_in + T, H, W, C) of one video, an array or a tensor, to clips of the same type
and shape. Except for "residual", every frame of the result is a frame of the clip.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch

from unreel.errors import InputError
from unreel.seeding import make_generator

MID_GREY = 128  # no motion: the middle of the range
Perturbation = Callable[[Any, int, int, int], Any]
"""(clips, lead_in, seed, index): seed and index of the video determine random draws; the others ignore them."""


def check_clips(operation: Callable[[np.ndarray, int, int, int], np.ndarray]) -> Perturbation:
    """The same operation for arrays and tensors; raises InputError for what is not a batch of clips."""

    @wraps(operation)
    def apply(clips: Any, lead_in: int = 0, seed: int = 0, index: int = 0) -> Any:
        frames = clips.cpu().numpy() if isinstance(clips, torch.Tensor) else np.asarray(clips)
        if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[1] <= lead_in:
            raise InputError(
                f"clips must be uint8 (V, {lead_in} + T, H, W, C), T at least 1, not {frames.dtype} {frames.shape}"
            )
        perturbed = np.ascontiguousarray(operation(frames, lead_in, seed, index))
        return torch.from_numpy(perturbed).to(clips.device) if isinstance(clips, torch.Tensor) else perturbed

    return apply


@check_clips
def freeze_time(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """The middle one of the T frames everywhere, in the lead-in too: no motion.

    One picture remains; the motion and what the other frames show are lost. A residual view is empty.

    >>> clips = np.arange(4, dtype=np.uint8).reshape(1, 4, 1, 1, 1)
    >>> freeze_time(clips).flatten().tolist()
    [2, 2, 2, 2]
    """
    middle = lead_in + (clips.shape[1] - lead_in) // 2
    return np.repeat(clips[:, middle : middle + 1], clips.shape[1], axis=1)


@check_clips
def shuffle_time(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """The T frames in random order, never their own (for T >= 2); the lead-in stays in front.

    All T pictures remain, so an encoder that ignores order gives the same result. A residual view sees jumps between
    frames that were not neighbours, larger than any real motion. One draw per clip of the video, uniform over the other
    T! - 1 orders.
    """
    rng, num_frames = make_generator(seed, 0, index, "tamper"), clips.shape[1] - lead_in
    orders = [lead_in + sample_other_order(rng, num_frames) for _ in clips]
    lead_in_frames = np.arange(lead_in)
    return np.stack([clip[np.concatenate([lead_in_frames, order])] for clip, order in zip(clips, orders, strict=True)])


def sample_other_order(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """A uniformly drawn permutation of T frames that is not the identity; for one frame, the identity."""
    order = rng.permutation(num_frames)
    while num_frames > 1 and (order == np.arange(num_frames)).all():
        order = rng.permutation(num_frames)
    return order


@check_clips
def reverse_time(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """All lead_in + T frames in reverse: every motion remains and runs backwards.

    A residual view sees its own frames in reverse and negated, none invented. In exchange the clip shifts by the
    lead-in: the old lead-in ends the clip, and the old last frames become the lead-in.

    >>> clips = np.arange(4, dtype=np.uint8).reshape(1, 4, 1, 1, 1)
    >>> reverse_time(clips).flatten().tolist()
    [3, 2, 1, 0]
    """
    return clips[:, ::-1]


@check_clips
def keep_motion(clips: np.ndarray, lead_in: int, seed: int, index: int) -> np.ndarray:
    """Changes alone: 128 + (x[t] - x[t-1]) / 2, rounded towards 128, a picture that an RGB network can take.

    Edges of moving things remain, in the colours of the change; everything static is lost. The first frame repeats the
    second. A residual view sees the change of motion. A single frame gives flat 128.

    >>> clips = np.array([0, 100, 50], dtype=np.uint8).reshape(1, 3, 1, 1, 1)
    >>> keep_motion(clips).flatten().tolist()
    [178, 178, 103]
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
