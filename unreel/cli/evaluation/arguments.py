"""The options of `unreel evaluate WHAT`, one dataclass for each evaluation."""

import dataclasses
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from unreel.cli.arguments import LimitOptions
from unreel.io.limits import Limits


@dataclasses.dataclass
class EncoderArgs:
    """An encoder, labelled videos, and the clips of each video."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    data: Positional[Path]
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
    json: bool = False
    """Print figures and protocol as JSON to standard output."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


@dataclasses.dataclass
class FeatureArgs(EncoderArgs):
    """The rows beside the encoder."""

    num_crops: Literal[1, 3] = 1
    """Crops of each clip: 1 is the centre; 3 are left, centre and right."""
    baseline: tuple[Path, ...] = ()
    """Folders of image or video models of transformers, shown frozen as further rows."""
    floors: bool = True
    """Show pixels, colours, frame difference and the untrained network as further rows."""


@dataclasses.dataclass
class RetrievalArgs(FeatureArgs):
    """Nearest-neighbour retrieval: test videos are the queries, training videos the gallery."""

    protocol: Literal["iic", "dualvar"] = "iic"
    """iic: max-pooled map, not centred; dualvar: averaged map, centred."""
    layer: Literal["conv5", "pooled", "map"] | None = None
    """Layer of the features, instead of the protocol's."""
    centring: Literal["none", "gallery", "own"] | None = None
    """Subtract nothing, the gallery's mean, or each side's own mean (as DualVar's release; it uses the test set)."""
    unit: Literal["video", "clip"] = "video"
    """Rank whole videos, or single clips."""


@dataclasses.dataclass
class KnnArgs(FeatureArgs):
    """Classification by the votes of the k nearest training videos."""

    ks: tuple[int, ...] = (1, 5, 10, 20)
    """Numbers of neighbours that vote, one column each."""
    temperature: float = 0.07
    """A vote has the weight exp(cosine / temperature)."""
    layer: Literal["pooled", "conv5"] = "pooled"
    """Layer of the features."""


@dataclasses.dataclass
class LinearArgs(FeatureArgs):
    """A linear classifier on frozen features; its values are chosen on held-out groups of the training videos."""

    kind: Literal["auto", "logistic", "sgd", "cvrl"] = "auto"
    """Logistic regression (for small data), SGD with a grid of rates and decays, or CVRL's fixed rate."""
    seed: int = 0
    """Seed of the held-out groups and of the order of batches."""


@dataclasses.dataclass
class AttentiveArgs(FeatureArgs):
    """A classifier that learns where and when to attend in the last feature map."""

    seed: int = 0
    """Seed of the held-out groups, of the weights and of the order of batches."""


@dataclasses.dataclass
class FewLabelsArgs(FeatureArgs):
    """A linear classifier with few labelled videos of each class, mean over draws."""

    ks: tuple[int, ...] = (1, 5, 10)
    """Numbers of labelled videos of each class, one column each."""
    shares: tuple[float, ...] = ()
    """Shares of the training videos of each class, as further columns; 0.01 is 1 percent."""
    draws: int = 5
    """Random draws of the labelled videos."""
    finetune: bool = False
    """Train the whole network on each draw, beside the same network from scratch: ten minutes or more on a CPU."""


@dataclasses.dataclass
class MotionArgs(FeatureArgs):
    """What an encoder still finds when motion, or the order of frames, is removed from the clips."""

    layer: Literal["pooled", "conv5"] = "pooled"
    """Layer of the features."""


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

    recipe: Literal["small", "iic", "dualvar"] = "small"
    """small is ours, for few videos; iic and dualvar are those of the papers."""
    epochs: int | None = None
    """Epochs, instead of the recipe's."""
    lr: float | None = None
    """Learning rate, instead of the recipe's."""
    batch_size: int | None = None
    """Videos per step, instead of the recipe's."""
    view: str | None = None
    """The encoder's view to train on; by default residual for iic, else the first one."""
    num_crops: Literal[1, 3] = 1
    """Crops of each test clip."""
    scratch: bool = True
    """Also train the same network from random weights."""
    weights: Path | None = None
    """Start from the backbone in this safetensors file instead; it must have all weights."""
    seed: int = 0
    """Seed of all random draws: on a CPU the same seed gives the same figures."""


@dataclasses.dataclass
class DetectionArgs:
    """Action detection: a linear layer on box features, frame mAP at IoU 0.5 as AVA measures it."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    data: Positional[Path]
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
    limits: LimitOptions = dataclasses.field(default_factory=Limits)
