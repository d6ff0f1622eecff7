"""`unreel import`: an encoder of weights that others have released."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from unreel.cli.arguments import name_argument, parse_args


@dataclasses.dataclass
class ImportArgs:
    """Make an encoder of a checkpoint of IIC, IICv2, DualVar, CoCLR, CVRL, torchvision or SlowFast.

    Nothing of the file is run: tensors are read, recognised by names and shapes, and must fill a network of unreel
    completely. OUT is then used like a run.
    """

    file: Annotated[Positional[Path], name_argument("FILE")]
    """A checkpoint of PyTorch (.pth, .pt, .tar, .pyth), safetensors, or the .index of one of TensorFlow 2."""
    out: Path
    """Folder of the encoder; must not exist yet."""
    layout: Annotated[str, tyro.conf.arg(name="as")] = ""
    """Whose file it is: iic, iic-v2, dualvar, coclr, cvrl, torchvision or slowfast; by default its names tell."""
    part: str = ""
    """Where in the file the network is, e.g. encoder_k.0; by default the one that the release uses."""
    num_frames: int = 0
    """Frames of a clip; 0 means as released."""
    size: int = 0
    """Side of a clip in pixels; 0 means as released."""
    views: tuple[str, ...] = ()
    """rgb, residual, flow-u, flow-v; by default those of the release."""


def import_command(args: list[str]) -> int:
    options = parse_args(ImportArgs, args, "import")
    from unreel.verbs.training.import_weights import import_weights

    report = import_weights(**vars(options))
    print("\n".join(report.format_lines()))
    print(f"{options.out}: an encoder; use it where a run is named, e.g. unreel index {options.out} FOLDER --out INDEX")
    return 0
