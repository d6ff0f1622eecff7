"""From float clips to a view, and from decoded clips to the cropped views that an encoder is used with.

Training (views/two_views.py) and use must agree in everything but chance, so both make their views here, from one
`ViewSpec`.
"""

from torch import Tensor

from unreel.views.augmentation import scale_to_unit
from unreel.views.geometric import uniform_crops
from unreel.views.view_spec import VIEWS, ViewSpec


def to_float_clips(frames: Tensor) -> Tensor:
    """uint8 (B, T, H, W, C) to float (B, C, T, H, W) in [0, 1]; the memory stays channels last."""
    return scale_to_unit(frames_to_clips(frames))


def frames_to_clips(frames: Tensor) -> Tensor:
    """(B, T, H, W, C) as (B, C, T, H, W), without a copy: the only place that permutes the axes."""
    return frames.permute(0, 4, 1, 2, 3)


def make_view(name: str, clips: Tensor, spec: ViewSpec) -> Tensor:
    """One view (B, 3, T, H, W) of float clips (B, 3, lead_in + T, H, W) in [0, 1]."""
    return VIEWS[name].make(clips, spec)


def make_inference_views(frames: Tensor, spec: ViewSpec, num_crops: int = 1) -> dict[str, Tensor]:
    """Deterministic crops of uint8 clips (B, lead_in + T, H, W, C) as views, each (B * num_crops, 3, T, size, size).

    One crop is the centre; three are left, centre and right (top, centre and bottom of an upright frame). The crops of
    a clip are consecutive rows.

    >>> import torch
    >>> frames = torch.zeros(2, 9, 36, 48, 3, dtype=torch.uint8)  # 8 frames and one before the clip
    >>> views = make_inference_views(frames, ViewSpec(("rgb", "residual"), size=32), num_crops=3)
    >>> {name: tuple(view.shape) for name, view in views.items()}
    {'rgb': (6, 3, 8, 32, 32), 'residual': (6, 3, 8, 32, 32)}
    """
    clips = to_float_clips(crop_frames(frames, spec.size, num_crops))
    return {name: make_view(name, clips, spec) for name in dict.fromkeys(spec.names)}


def crop_frames(frames: Tensor, size: int, num_crops: int = 1) -> Tensor:
    """The crops of `make_inference_views`, still uint8: (B * num_crops, lead_in + T, size, size, C)."""
    return uniform_crops(frames_to_clips(frames), size, num_crops).permute(0, 2, 3, 4, 1)
