"""Residual frames: what changed since the frame before.

The released code has several residuals (raw or rescaled, with a frame 0 that is first minus last), and its README the
opposite sign (docs/methods.md). Here the choice is one value that the checkpoint keeps, the same in training and use.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unreel.errors import InputError


@dataclass(frozen=True)
class ResidualSpec:
    """How residual frames are made.

    sign: "forward" is x[t] - x[t-1] (the released code), "backward" its opposite (the released README).
    boundary: what precedes frame 0. "lead-in": a frame read before the clip, so no artefact; "wrap": the last frame,
    as released; "zero": frame 0 of the residual is zero.
    rescale: (r + 1) / 2, which puts "nothing moved" at 0.5 and the range of [0, 1] clips at [0, 1].
    """

    sign: Literal["forward", "backward"] = "forward"
    boundary: Literal["lead-in", "wrap", "zero"] = "lead-in"
    rescale: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (("sign", ("forward", "backward")), ("boundary", ("lead-in", "wrap", "zero"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"residual {name} must be one of {', '.join(allowed)}, got '{getattr(self, name)}'")


def compute_residual(clips: Tensor, spec: ResidualSpec) -> Tensor:
    """Residual frames (B, C, T, H, W) of clips (B, C, T, H, W), or (B, C, T + 1, H, W) when the boundary is "lead-in".

    Source: Tao, Wang, Yamasaki 2020; BestJuly/IIC training script for "wrap".

    >>> clips = torch.tensor([0.0, 0.5, 0.25]).view(1, 1, 3, 1, 1)
    >>> compute_residual(clips, ResidualSpec(rescale=False)).flatten()
    tensor([ 0.5000, -0.2500])
    """
    if spec.boundary == "lead-in":
        if clips.shape[2] < 2:
            raise InputError(f"a residual with lead-in needs at least 2 frames, got {clips.shape[2]}")
        difference = clips[:, :, 1:] - clips[:, :, :-1]
    elif spec.boundary == "wrap":
        difference = clips - clips.roll(1, dims=2)
    else:
        difference = torch.diff(clips, dim=2, prepend=clips[:, :, :1])
    difference = -difference if spec.sign == "backward" else difference
    return difference.add_(1).div_(2) if spec.rescale else difference
