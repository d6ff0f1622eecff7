"""The views that there are, and which of them an encoder is trained and used with; the checkpoint keeps the latter.

A new view is a function of clips and a line of VIEWS; then it is a choice of --first-view and --second-view. One of
your own needs no line: --first-view path/to/edges.py:make_edges.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from unreel.errors import InputError, OwnCodeError, unknown_name_error
from unreel.own_code.extendable import Extendable
from unreel.views.optical_flow import compute_flow_view
from unreel.views.photometric import IMAGENET_MEAN, IMAGENET_STD, normalize
from unreel.views.residual_frames import ResidualSpec, compute_residual


@dataclass(frozen=True)
class ViewSpec:
    """Which views, at which size. Frames are resized to 8/7 of `size` high and 4/3 of that wide (128 x 171 for 112).

    With `standardize`, RGB is (x - mean) / std, by default of ImageNet, and residual frames are those of such RGB
    (IICv2).

    >>> spec = ViewSpec(("rgb", "residual"), size=112)
    >>> spec.resize_hw, spec.lead_in
    ((128, 171), 1)
    """

    names: tuple[str, ...] = ("rgb", "residual")
    size: int = 112
    residual: ResidualSpec = field(default_factory=ResidualSpec)
    standardize: bool = False
    mean: tuple[float, ...] = IMAGENET_MEAN  # of each channel; used with `standardize` alone
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in VIEWS:
                raise unknown_name_error("view", name, VIEWS.list_known())
        if not (len(self.mean) == len(self.std) == 3 and min(self.std) > 0):
            raise InputError(f"mean and std are three numbers, std above 0, got mean={self.mean} and std={self.std}")
        if self.size < 16:
            raise InputError(f"clips must be at least 16 pixels a side, got size={self.size}")
        if self.standardize and self.residual.rescale and "residual" in self.names:
            raise InputError(
                "standardised residual frames are the raw difference divided by a deviation, which (r + 1) / 2 is not; "
                "set the residual's rescale to off, or standardize to off"
            )

    @property
    def resize_hw(self) -> tuple[int, int]:
        """Height and width at which frames are decoded. Source: IIC's release, aspect ratio not kept."""
        return round(self.size * 8 / 7), round(self.size * 8 / 7 * 4 / 3)

    @property
    def lead_in(self) -> int:
        """Frames read before the clip, for views that look one frame back."""
        looks_back = any(VIEWS[name].looks_back for name in self.names)
        return int(looks_back and self.residual.boundary == "lead-in")


class View(NamedTuple):
    """A view: a function that makes (B, 3, T, H, W) of float clips (B, 3, lead_in + T, H, W) in [0, 1].

    `looks_back`: it uses the frame before each frame, so it wants a lead-in. `shows_motion`: which end of the search
    slider it belongs to, motion or appearance.
    """

    make: Callable[[Tensor, ViewSpec], Tensor]
    looks_back: bool
    shows_motion: bool


def make_rgb_view(clips: Tensor, spec: ViewSpec) -> Tensor:
    """The frames of the clip themselves; (B, 3, lead_in + T, H, W) to (B, 3, T, H, W)."""
    rgb = clips[:, :, spec.lead_in :]
    return normalize(rgb, spec.mean, spec.std) if spec.standardize else rgb


def make_residual_view(clips: Tensor, spec: ViewSpec) -> Tensor:
    """What changed since the frame before; (B, 3, lead_in + T, H, W) to (B, 3, T, H, W)."""
    difference = compute_residual(clips, spec.residual)
    return normalize(difference, (0.0, 0.0, 0.0), spec.std) if spec.standardize else difference


def make_flow_u_view(clips: Tensor, spec: ViewSpec) -> Tensor:
    """Horizontal optical flow; (B, 3, lead_in + T, H, W) to (B, 3, T, H, W)."""
    return compute_flow_view(clips, "u", lead_in=spec.lead_in > 0)


def make_flow_v_view(clips: Tensor, spec: ViewSpec) -> Tensor:
    """Vertical optical flow; (B, 3, lead_in + T, H, W) to (B, 3, T, H, W)."""
    return compute_flow_view(clips, "v", lead_in=spec.lead_in > 0)


def adapt_view(name: str, made: Any) -> View:
    """A view of one's own: a `View`, or a function of clips (B, 3, lead_in + T, H, W) and the `ViewSpec`."""
    if isinstance(made, View):
        return made
    if not callable(made):
        raise OwnCodeError(
            f"view '{name}' is a {type(made).__name__}; it must be a function of clips and spec, or a View"
        )
    return View(made, looks_back=False, shows_motion=False)


VIEWS = Extendable(
    "view",
    {
        "rgb": View(make_rgb_view, looks_back=False, shows_motion=False),
        "residual": View(make_residual_view, looks_back=True, shows_motion=True),
        "flow-u": View(make_flow_u_view, looks_back=True, shows_motion=True),
        "flow-v": View(make_flow_v_view, looks_back=True, shows_motion=True),
    },
    adapt_view,
)
if TYPE_CHECKING:
    ViewName = str
else:
    ViewName = Literal[tuple(VIEWS)] | str  # the choices of --first-view and --second-view, and file.py:NAME
