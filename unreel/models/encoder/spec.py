"""What suffices to rebuild an encoder: backbone, clip, views and heads, kept as JSON beside the weights."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from unreel.io.text import build_from_json
from unreel.models.heads import HeadSpec
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.photometric import IMAGENET_MEAN, IMAGENET_STD
from unreel.views.view_spec import ViewSpec

APPEARANCE = "appearance"  # the part of a row that a frozen image model makes


@dataclass(frozen=True)
class AppearanceSpec:
    """A frozen image model beside the encoder: its name or folder, its number of features, and which weights it had."""

    model: str
    num_features: int
    weights_hash: str


@dataclass(frozen=True)
class EncoderSpec:
    """All that is needed to rebuild an encoder, kept as readable JSON beside the weights."""

    backbone: str
    method: str = "untrained"
    clip: ClipSpec = field(default_factory=ClipSpec)
    views: ViewSpec = field(default_factory=ViewSpec)
    options: dict[str, Any] = field(default_factory=dict, hash=False)  # the backbone's own, e.g. {"width": 2}
    heads: tuple[HeadSpec, ...] = ()  # for an index made with heads; most encoders have none
    appearance: AppearanceSpec | None = None  # for an index or a store of both; no run has one

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts of a row of an index, side by side: the heads if there are any, else the views; then appearance."""
        own = tuple(head.name for head in self.heads) or tuple(dict.fromkeys(self.views.names))
        return own if self.appearance is None else (*own, APPEARANCE)

    def compute_part_widths(self, num_columns: int) -> tuple[int, ...]:
        """The numbers of each part in rows of `num_columns`: the encoder's own are of equal width.

        >>> EncoderSpec("tiny", appearance=AppearanceSpec("a-model", 4, "")).compute_part_widths(12)
        (4, 4, 4)
        """
        if self.appearance is None:
            return (num_columns // len(self.part_names),) * len(self.part_names)
        num_own, width = len(self.part_names) - 1, self.appearance.num_features
        return (*[(num_columns - width) // num_own] * num_own, width)

    def to_json(self) -> dict[str, Any]:
        optional = ("heads", "appearance")
        data = {name: value for name, value in dataclasses.asdict(self).items() if name not in optional or value}
        if (self.views.mean, self.views.std) == (IMAGENET_MEAN, IMAGENET_STD):  # as in files of before these fields
            del data["views"]["mean"], data["views"]["std"]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "EncoderSpec":
        """What `to_json` wrote. Raises ValueError for others."""
        for name in ("method", "clip", "views"):
            if name not in data:
                raise ValueError(f"{name} is missing in EncoderSpec")
        return build_from_json(cls, {name: value for name, value in data.items() if name in cls.__annotations__})
