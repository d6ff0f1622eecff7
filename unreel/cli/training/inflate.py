"""`unreel inflate`: a video encoder of an image network's weights."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from unreel.cli.arguments import name_argument, parse_args


@dataclasses.dataclass
class InflateArgs:
    """Make a video encoder of 2D weights: each kernel is repeated along time and divided by its length."""

    source: Annotated[Positional[Path], name_argument("FILE")]
    """A file of weights (.safetensors, .pth), or a run with a network X-2d (--method simclr-frames)."""
    out: Path
    """Folder of the encoder; must not exist yet."""
    backbone: str = ""
    """The 3D network; by default the run's own X, r3d50 for a file."""
    num_frames: int = 0
    """Frames of a clip; 0 means 8 for tiny, 16 for the others."""


def inflate_command(args: list[str]) -> int:
    options = parse_args(InflateArgs, args, "inflate")
    from unreel.verbs.training.inflate import inflate

    encoder = inflate(options.source, options.out, options.backbone, options.num_frames)
    print(f"{options.out}: {encoder.spec.backbone}, clips of {encoder.spec.clip.num_frames} frames")
    return 0
