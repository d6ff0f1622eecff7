"""Optical flow as a view: one component as a grey image, so that one network serves every view.

OpenCV's DIS, preset medium: 160 times faster than TV-L1 with nearly its accuracy. OpenCV's own threads change neither
the result nor, at this size, the speed (38 clips/s of 112 pixels with one, 37 with two), so the setting, which is
global to the process, stays as it is, and our threads share the clips.
Source: Kroeger et al. 2016; Tao, Wang, Yamasaki 2020 use one of u and v.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from unreel.errors import InputError
from unreel.views.photometric import grayscale

# The released flow kept +-20 px of frames 256 high, which is 10 px in a crop of 112 from frames of 128.
MAX_DISPLACEMENT = 10 / 112
MIN_FRAME_SIZE = 12


def compute_flow_view(
    clips: Tensor, component: Literal["u", "v"], lead_in: bool = True, max_displacement: float = MAX_DISPLACEMENT
) -> Tensor:
    """Flow (B, 3, T, H, W) from the frame before to each frame, as three equal channels in [0, 1]; 0.5 is no motion.

    `u` is above 0.5 where things move right, `v` where they move down; motion is clipped at `max_displacement` times
    the height.
    Clips are (B, 3, T + 1, H, W) with `lead_in`; else (B, 3, T, H, W), and frame 0 repeats the flow of frame 1.
    Computed on the CPU, whatever the device of the clips, without gradient. Raises InputError.

    >>> compute_flow_view(torch.rand(1, 3, 3, 32, 32), "u").shape
    torch.Size([1, 3, 2, 32, 32])
    """
    if component not in ("u", "v"):
        raise InputError(f"flow component must be u or v, got '{component}'")
    if clips.shape[2] < 2 or min(clips.shape[3:]) < MIN_FRAME_SIZE:
        raise InputError(
            f"flow needs 2 frames of {MIN_FRAME_SIZE} x {MIN_FRAME_SIZE} or more, got {tuple(clips.shape[2:])}"
        )
    grey = grayscale(clips.detach(), torch.zeros(len(clips), 1), p=1)[:, 0]
    frames_BTHW = (grey * 255).round().to(torch.uint8).cpu().numpy()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        pixels = np.stack(list(pool.map(lambda frames: compute_clip_flow(frames, "uv".index(component)), frames_BTHW)))
    limit = max_displacement * clips.shape[3]
    image_BTHW = torch.from_numpy(pixels).to(clips).clamp_(-limit, limit).div_(2 * limit).add_(0.5)
    if not lead_in:
        image_BTHW = torch.cat([image_BTHW[:, :1], image_BTHW], dim=1)
    return image_BTHW[:, None].repeat(1, 3, 1, 1, 1)


def compute_clip_flow(frames_THW: np.ndarray, component: int) -> np.ndarray:
    """Pixels of motion between neighbouring uint8 frames, float32 (T - 1, H, W); component 0 is u, 1 is v."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.stack([dis.calc(before, after, np.empty(0))[:, :, component] for before, after in pairwise(frames_THW)])
