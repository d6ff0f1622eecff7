"""Settings of the network that is trained."""

import json
from dataclasses import dataclass
from typing import Any

from unreel.errors import InputError
from unreel.settings.ranges import check_ranges

NO_WEIGHTS, AUTO_WEIGHTS, BASE_WEIGHTS = "none", "auto", "base"
BASE_NAMES = (BASE_WEIGHTS, "base-16")
"""The encoders that come with unreel."""
INIT_WORDS = (NO_WEIGHTS, AUTO_WEIGHTS, *BASE_NAMES)
"""Values of `init` that are no paths; a folder of such a name is ./base."""

EXAMPLE = """write it as --backbone-options '{"width": 32}'"""


@dataclass(frozen=True)
class NetworkSettings:
    """Which network is trained, and with which weights it begins."""

    backbone: str = "auto"
    """Network by name (`unreel methods` lists them), X-2d for the 2D twin of X, path/to/net.py:Small or module:Small
    for a module of yours, transformers:videomae and the like; auto means tiny on a CPU, r3d elsewhere."""
    backbone_options: str = ""
    """What the network is built with, as JSON: '{"width": 32}' calls Small(width=32)."""
    width: int = 1
    """Width factor of r3d50, r3d101, r3d152 and of these as TensorFlow builds them (r3d50tf and so on)."""
    init: str = NO_WEIGHTS
    """Begin with these weights: none, random ones; base (for tiny) or base-16 (for small), the encoders that come with
    unreel; a run or checkpoint of the same network (a warm start); auto, the encoder of unreel that fits the network;
    or 2D weights, inflated along time: a file (.safetensors, .pth; those of ImageNet need --standardize and
    --no-rescale), or a run of an X-2d network."""

    def __post_init__(self) -> None:
        check_ranges(self, width=(1, 64))
        if isinstance(self.backbone_options, dict):  # from Python
            object.__setattr__(self, "backbone_options", json.dumps(self.backbone_options, sort_keys=True))
        self.parse_backbone_options()
        if not self.init:  # as runs of earlier versions have it
            object.__setattr__(self, "init", NO_WEIGHTS)

    @property
    def network_options(self) -> dict[str, Any]:
        """What a network of ours is built with beside its name."""
        return ({"width": self.width} if self.width != 1 else {}) | self.parse_backbone_options()

    def parse_backbone_options(self) -> dict[str, Any]:
        """`backbone_options` as a dictionary. Raises InputError for a text that is none.

        >>> NetworkSettings(backbone_options='{"width": 32}').parse_backbone_options()
        {'width': 32}
        """
        try:
            options = json.loads(self.backbone_options or "{}")
        except (ValueError, RecursionError, TypeError) as error:
            raise InputError(f"backbone_options {self.backbone_options!r} is no JSON ({error})", EXAMPLE) from error
        if not isinstance(options, dict):
            raise InputError(f"backbone_options {self.backbone_options!r} is no JSON object", EXAMPLE)
        return options
