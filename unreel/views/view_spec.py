"""Which views an encoder is trained and used with; the checkpoint keeps it."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from unreel.errors import InputError, unknown_name_error
from unreel.views.residual_frames import ResidualSpec

ViewName = Literal["rgb", "residual", "flow-u", "flow-v"]
VIEW_NAMES = get_args(ViewName)


@dataclass(frozen=True)
class ViewSpec:
    """Which views, at which size. Frames are resized to 8/7 of `size` high and 4/3 of that wide (128 x 171 for 112).

    With `standardize`, RGB is (x - mean) / std of ImageNet, and residual frames are those of such RGB (IICv2).

    >>> spec = ViewSpec(("rgb", "residual"), size=112)
    >>> spec.resize_hw, spec.lead_in
    ((128, 171), 1)
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
        """Height and width at which frames are decoded. Source: IIC's release, aspect ratio not kept."""
        return round(self.size * 8 / 7), round(self.size * 8 / 7 * 4 / 3)

    @property
    def lead_in(self) -> int:
        """Frames read before the clip, for views that look one frame back."""
        looks_back = [n for n in self.names if n != "rgb"]
        return int(bool(looks_back) and self.residual.boundary == "lead-in")
