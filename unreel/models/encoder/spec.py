"""What suffices to rebuild an encoder: backbone, clip, views and heads, kept as JSON beside the weights."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from unreel.models.heads import HeadSpec
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import ViewSpec


@dataclass(frozen=True)
class EncoderSpec:
    """All that is needed to rebuild an encoder, kept as readable JSON beside the weights."""

    backbone: str
    method: str = "untrained"
    clip: ClipSpec = field(default_factory=ClipSpec)
    views: ViewSpec = field(default_factory=ViewSpec)
    options: dict[str, Any] = field(default_factory=dict, hash=False)  # the backbone's own, e.g. {"width": 2}
    heads: tuple[HeadSpec, ...] = ()  # for an index made with heads; most encoders have none

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts of a row of an index, side by side: the heads if there are any, else the views."""
        return tuple(head.name for head in self.heads) or tuple(dict.fromkeys(self.views.names))

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "heads" or value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "EncoderSpec":
        views = dict(data["views"])
        views["names"] = tuple(views["names"])
        views["residual"] = ResidualSpec(**views["residual"])
        options = dict(data.get("options", {}))  # files of 0.1 have none
        heads = tuple(HeadSpec(**head) for head in data.get("heads", ()))
        return cls(data["backbone"], data["method"], ClipSpec(**data["clip"]), ViewSpec(**views), options, heads)
