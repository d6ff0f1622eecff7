"""Copies of a moment: the same moment in other looks, and with its order of time destroyed."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from unreel.models.encoder.spec import EncoderSpec
from unreel.seeding import draw_uniforms
from unreel.views.augmentation import Augmentation, augment_clips
from unreel.views.inference_views import to_float_clips
from unreel.views.perturb import PERTURBATIONS

OTHER = Augmentation(resized_crop=True, jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=1.0, grey=0.2, blur=0.5)
# Strong enough that neither the colours of a video nor the place of things in it suffice: CVRL's jitter, and mirrored.
VERY_OTHER = Augmentation(resized_crop=True, flip=1.0, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=1.0, grey=0.2, blur=0.5)
PLAIN, OTHER_LOOKS, VERY_OTHER_LOOKS = "plain", "other looks", "very other looks"
BROKEN_COPIES = ("frozen", "shuffled", "reversed")  # names of PERTURBATIONS


def make_copies(clips: np.ndarray, spec: EncoderSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """All that the tests compare, from the moments of a video (K, lead_in + T, H, W, C), all as centre crops.

    The moments as they are and in other looks, each (K, lead_in + T, size, size, C). Of the first and the last moment a
    copy in very other looks, and a broken copy for each name of BROKEN_COPIES, each (2, lead_in + T, size, size, C).
    Random draws are f(seed, pixels of the clip), so the same video gives the same copies in any list.
    """
    lead_in, size = spec.clip.lead_in, spec.views.size
    numbers = [zlib.crc32(np.ascontiguousarray(clip[lead_in:]).tobytes()) for clip in clips]
    ends = [0, len(clips) - 1]
    plain = _crop_centre(clips, size)
    broken = {
        name: np.concatenate([PERTURBATIONS[name](plain[k : k + 1], lead_in, seed, numbers[k]) for k in ends])
        for name in BROKEN_COPIES
    }
    return {
        PLAIN: plain,
        OTHER_LOOKS: change_looks(clips, size, numbers, OTHER, seed),
        VERY_OTHER_LOOKS: change_looks(clips[ends], size, [numbers[k] for k in ends], VERY_OTHER, seed),
        **broken,
    }


def change_looks(
    clips: np.ndarray, size: int, numbers: Sequence[int], augmentation: Augmentation, seed: int = 0
) -> np.ndarray:
    """Clips (K, T, H, W, C) in other looks: crop, colours, sharpness; uint8 (K, T, size, size, C).

    All frames of a clip change alike, so its motion stays. Draws are f(seed, number of the clip).
    """

    def draw(stream: str, count: int) -> torch.Tensor:
        return draw_uniforms(seed, 0, numbers, f"looks-{stream}", count)

    changed = augment_clips(to_float_clips(torch.from_numpy(clips)), augmentation, draw, size)
    return changed.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous().numpy()


def _crop_centre(clips: np.ndarray, size: int) -> np.ndarray:
    """The middle of the frames (K, T, H, W, C), rounded towards the top left, as views/geometric.py crops it."""
    top, left = (clips.shape[2] - size) // 2, (clips.shape[3] - size) // 2
    return np.ascontiguousarray(clips[:, :, top : top + size, left : left + size])
