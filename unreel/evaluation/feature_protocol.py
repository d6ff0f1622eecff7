"""What a file of protocols/ offers as `PROTOCOL`: an evaluation on frozen features, its options and its help."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from unreel.errors import InputError
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import VideoFeatures
from unreel.models.encoder.encoder import Encoder

Options = TypeVar("Options")
ClipScope = Literal["none", "networks", "all"]


@dataclass(frozen=True)
class ExtractionOptions:
    """Clips and crops of each video, and what stands beside the encoder.

    Args:
        num_clips: evenly spread clips per video.
        num_crops: crops of each clip: 1 is the centre; 3 are left, centre and right; 5 are the centre and the corners;
            10 are these and their mirror images.
        trivial_baselines: add pixels, colours, frame difference and the untrained network as rows.
        baseline_folders: folders of frozen models of transformers to add as rows.
        workers: processes that decode; 0 means this process.
        appearance: a frozen image model, by its name or folder, to add as the rows `appearance` and `both`.
        rate: the frame rate in words, where it is not the one that the encoder was trained with.

    Raises:
        InputError: there is less than 1 clip, or another number of crops.

    >>> unreel.ExtractionOptions(num_clips=2).num_crops
    1
    """

    num_clips: int = 10
    num_crops: int = 1
    trivial_baselines: bool = True
    baseline_folders: tuple[Path, ...] = ()
    workers: int = 0
    rate: str = "the encoder's own"
    appearance: str = ""

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.num_crops not in (1, 3, 5, 10):
            raise InputError(
                f"a video needs 1 clip or more and 1, 3, 5 or 10 crops, got num_clips={self.num_clips}, "
                f"num_crops={self.num_crops}"
            )


@dataclass(frozen=True)
class Evaluation:
    """A function of features; the layers it needs, the sources whose single clips it needs, and perturbations."""

    run: Callable[[VideoFeatures, VideoFeatures, Encoder], Result]
    layers: tuple[str, ...] = ("pooled",)
    clip_scope: ClipScope = "none"
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureProtocol(Generic[Options]):
    """A protocol as `unreel evaluate NAME` runs it; protocol_registry.py finds it by its file.

    `name`, `order` and `summary` are literals, since the help reads them without importing the file: `order` is the
    place in the help and in reports, `summary` the line of the help. The fields of the dataclass `options` are the
    flags, their docstrings the help. `build` gives the evaluations by the names of their results. `in_suite` has the
    options that `unreel evaluate all` runs the protocol with; nothing leaves it out.
    """

    name: str
    order: int
    summary: str
    options: type[Options]
    build: Callable[[Options, ExtractionOptions], dict[str, Evaluation]]
    in_suite: tuple[Options, ...] = ()
