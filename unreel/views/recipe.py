"""From decoded clips to the views that a method trains on, and to the views that an encoder is used with.

The two must agree in everything but chance, so both are made here from one `ViewSpec`, which the checkpoint keeps.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from unreel.errors import InputError, unknown
from unreel.types import Clips, Views
from unreel.video.order import uniforms
from unreel.views import augment
from unreel.views.flow import flow
from unreel.views.intra import INTRA_NEGATIVES
from unreel.views.residual import Residual, residual

VIEWS = ("rgb", "residual", "flow-u", "flow-v")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Augment = Literal["crop", "color"]


@dataclass(frozen=True)
class ViewSpec:
    """Which views, at which size. Frames are resized to 8/7 of `size` high and 4/3 of that wide (128 x 171 for 112)."""

    names: tuple[str, ...] = ("rgb", "residual")
    size: int = 112
    residual: Residual = field(default_factory=Residual)
    standardize: bool = False

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in VIEWS:
                raise unknown("view", name, VIEWS)
        if self.size < 16:
            raise InputError(f"clips must be at least 16 pixels a side, got size={self.size}")

    @property
    def resize_hw(self) -> tuple[int, int]:
        """Height and width that frames are decoded at. Source: METHODS 1.2, aspect ratio not kept."""
        return round(self.size * 8 / 7), round(self.size * 8 / 7 * 4 / 3)

    @property
    def lead_in(self) -> int:
        """Frames read before the clip, for views that look one frame back."""
        looks_back = [n for n in self.names if n.startswith("flow") or n == "residual"]
        return int(bool(looks_back) and self.residual.boundary == "lead-in")


def to_float(frames: Tensor) -> Tensor:
    """uint8 (B, T, H, W, C) to float (B, C, T, H, W) in [0, 1]: the one place where the axes are turned."""
    return frames.permute(0, 4, 1, 2, 3).float().div_(255)


def make_view(name: str, clips: Tensor, spec: ViewSpec) -> Tensor:
    """One view (B, 3, T, H, W) of float clips (B, 3, lead_in + T, H, W) in [0, 1]."""
    if name == "residual":
        return residual(clips, spec.residual)
    if name.startswith("flow"):
        return flow(clips, "u" if name == "flow-u" else "v", lead_in=spec.lead_in > 0)
    rgb = clips[:, :, spec.lead_in :]
    return augment.normalize(rgb, IMAGENET_MEAN, IMAGENET_STD) if spec.standardize else rgb


def inference_views(frames: Tensor, spec: ViewSpec) -> dict[str, Tensor]:
    """Centre-cropped views of uint8 clips (B, lead_in + T, H, W, C), the same every time."""
    clips = augment.center_crop(to_float(frames), spec.size)
    return {name: make_view(name, clips, spec) for name in dict.fromkeys(spec.names)}


def augmented(
    clips: Tensor, seed: int, epoch: int, index_B: Tensor, stream: str, spec: ViewSpec, how: Augment
) -> Tensor:
    """Randomly cropped and, for `color`, jittered, greyed and blurred clips (B, C, T, size, size); one draw per clip.

    Source: METHODS 1.2 (`crop`), METHODS 2 (`color`, without the flip, which would merge left and right).
    """

    def draw(op: str, count: int) -> Tensor:
        return uniforms(seed, epoch, index_B, f"{stream}/{op}", count).to(clips.device)

    clips = augment.random_crop(clips, draw("crop", 2), spec.size)
    if how == "color":
        clips = augment.color_jitter(clips, draw("jitter", augment.DRAWS["color_jitter"]), 0.4, 0.4, 0.4, 0.1, p=0.8)
        clips = augment.grayscale(clips, draw("grey", 1), p=0.2)
        clips = augment.gaussian_blur(clips, draw("blur", 2), p=0.5)
    return clips


@dataclass(frozen=True)
class TwoViewRecipe:
    """Two views of an instance and an intra-negative of the first.

    Both views come from one clip with one draw when `two_clips` is off (IIC), else from two clips of the same
    instance drawn apart (IICv2). The intra-negative breaks time in view 1 *after* its augmentation, so appearance
    is the same to the pixel and only time differs.
    """

    spec: ViewSpec
    seed: int
    intra: str = "repeat"
    augment: Augment = "crop"
    two_clips: bool = False

    def __post_init__(self) -> None:
        if self.intra != "none" and self.intra not in INTRA_NEGATIVES:
            raise unknown("intra-negative", self.intra, [*INTRA_NEGATIVES, "none"])

    @property
    def num_clips(self) -> int:
        return 2 if self.two_clips else 1

    @torch.no_grad()
    def __call__(self, clips: Clips) -> Views:
        """Views "view1", "view2" and, unless intra is "none", "intra"; each float (B, 3, T, size, size)."""
        first, second = self.spec.names
        source1 = self._augmented(clips, 0)
        source2 = self._augmented(clips, 1) if self.two_clips else source1
        tensors = {"view1": make_view(first, source1, self.spec), "view2": make_view(second, source2, self.spec)}
        if self.intra != "none":
            tensors["intra"] = self._broken(tensors["view1"], clips)
        return Views(tensors, clips.index_B, clips.video_B, clips.start_s_B, clips.epoch)

    def _augmented(self, clips: Clips, which: int) -> Tensor:
        frames = to_float(clips.frames[:, which])
        return augmented(frames, self.seed, clips.epoch, clips.index_B, f"clip{which}", self.spec, self.augment)

    def _broken(self, view: Tensor, clips: Clips) -> Tensor:
        function, count = INTRA_NEGATIVES[self.intra]
        u = uniforms(self.seed, clips.epoch, clips.index_B, "intra", count(view.shape[2]))
        return function(view, u.to(view.device))
