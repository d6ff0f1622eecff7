"""From augmented clips to views, and from decoded clips to the views that an encoder is used with.

Training (views/two_views.py) and use must agree in everything but chance, so the views of both are made here, from one
`ViewSpec`, which the checkpoint keeps.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor

from unreel.errors import InputError, unknown_name_error
from unreel.views import photometric
from unreel.views.optical_flow import compute_flow_view
from unreel.views.residual_frames import ResidualSpec, compute_residual

ViewName = Literal["rgb", "residual", "flow-u", "flow-v"]
VIEW_NAMES = get_args(ViewName)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ViewSpec:
    """Which views, at which size. Frames are resized to 8/7 of `size` high and 4/3 of that wide (128 x 171 for 112).

    With `standardize`, RGB is (x - mean) / std of ImageNet, and residual frames are those of such RGB (IICv2).
    """

    names: tuple[str, ...] = ("rgb", "residual")
    size: int = 112
    residual: ResidualSpec = field(default_factory=ResidualSpec)
    standardize: bool = False

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in VIEW_NAMES:
                raise unknown_name_error("view", name, VIEW_NAMES)
        if self.size < 16:
            raise InputError(f"clips must be at least 16 pixels a side, got size={self.size}")
        if self.standardize and self.residual.rescale and "residual" in self.names:
            raise InputError(
                "standardised residual frames are the raw difference divided by a deviation, which (r + 1) / 2 is not; "
                "set the residual's rescale to off, or standardize to off"
            )

    @property
    def resize_hw(self) -> tuple[int, int]:
        """Height and width that frames are decoded at. Source: IIC's release, aspect ratio not kept."""
        return round(self.size * 8 / 7), round(self.size * 8 / 7 * 4 / 3)

    @property
    def lead_in(self) -> int:
        """Frames read before the clip, for views that look one frame back."""
        looks_back = [n for n in self.names if n.startswith("flow") or n == "residual"]
        return int(bool(looks_back) and self.residual.boundary == "lead-in")


def to_float_clips(frames: Tensor) -> Tensor:
    """uint8 (B, T, H, W, C) to float (B, C, T, H, W) in [0, 1]: the one place where the axes are turned."""
    return frames.permute(0, 4, 1, 2, 3).float().div_(255)


def make_view(name: str, clips: Tensor, spec: ViewSpec) -> Tensor:
    """One view (B, 3, T, H, W) of float clips (B, 3, lead_in + T, H, W) in [0, 1]."""
    if name == "residual":
        difference = compute_residual(clips, spec.residual)
        return photometric.normalize(difference, (0.0, 0.0, 0.0), IMAGENET_STD) if spec.standardize else difference
    if name.startswith("flow"):
        return compute_flow_view(clips, "u" if name == "flow-u" else "v", lead_in=spec.lead_in > 0)
    rgb = clips[:, :, spec.lead_in :]
    return photometric.normalize(rgb, IMAGENET_MEAN, IMAGENET_STD) if spec.standardize else rgb


def make_inference_views(frames: Tensor, spec: ViewSpec, num_crops: int = 1) -> dict[str, Tensor]:
    """Cropped views of uint8 clips (B, lead_in + T, H, W, C), the same every time: (B * num_crops, 3, T, size, size).

    One crop is the centre; three are left, centre and right (top and bottom of an upright frame), side by side.
    """
    clips = photometric.uniform_crops(to_float_clips(frames), spec.size, num_crops)
    return {name: make_view(name, clips, spec) for name in dict.fromkeys(spec.names)}
