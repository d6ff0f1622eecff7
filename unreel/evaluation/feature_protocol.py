"""What a file of protocols/ offers as `PROTOCOL`: an evaluation on frozen features, its options and its help.

One of your own is checked when it is loaded, and its source is noted in each result.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from unreel.errors import InputError, OwnCodeError
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import VideoFeatures
from unreel.models.encoder.encoder import Encoder
from unreel.own_code.error_lines import explain_errors
from unreel.own_code.loading import OwnCode, get_loaded, get_member, load_named
from unreel.own_code.names import split_name
from unreel.own_code.python_objects import register_object

KIND = "protocol"
Options = TypeVar("Options")
ClipScope = Literal["none", "networks", "all"]
Run = Callable[[VideoFeatures, VideoFeatures, Encoder], Result]
"""Features of the training and of the test videos, and the encoder, to a table."""


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

    run: Run
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


def load_own_protocol(name: str) -> FeatureProtocol[Any]:
    """The protocol of `file.py:NAME`, from the disk as it is now. Raises OwnCodeError that says what is wrong."""
    name = load_named(name, KIND)
    code, protocol = get_member(name, KIND)
    attribute = split_name(name, KIND)[1]
    check_protocol(protocol, f"{code.find_line(attribute)}: {attribute}")
    return note_sources(protocol, name, code)


def adopt_protocol(protocol: FeatureProtocol[Any]) -> FeatureProtocol[Any]:
    """A protocol that Python hands over. Raises OwnCodeError that says what is wrong."""
    check_protocol(protocol, f"protocol '{protocol.name}'")
    name = register_object(protocol.build, KIND)
    return note_sources(protocol, name, get_loaded(name, KIND))


def check_protocol(protocol: Any, place: str) -> None:
    """Raise OwnCodeError for what is no protocol, or has options that can't be flags."""
    if not isinstance(protocol, FeatureProtocol):
        expected = "a FeatureProtocol(name, order, summary, options, build), see unreel/evaluation/feature_protocol.py"
        raise OwnCodeError(f"{place} is a {type(protocol).__name__}; a protocol is {expected}")
    options = protocol.options
    if not dataclasses.is_dataclass(options) or options.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise OwnCodeError(f"{place}: options must be a dataclass, and not a frozen one: its fields become flags")
    for field in dataclasses.fields(options):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise OwnCodeError(f"{place}: the option {field.name} has no default; give it one")


def note_sources(protocol: FeatureProtocol[Any], name: str, code: OwnCode) -> FeatureProtocol[Any]:
    """The protocol, whose results say which code measured them: figures of other code never share a table."""

    def build(options: Any, extraction: ExtractionOptions) -> dict[str, Evaluation]:
        with explain_errors(f"protocol '{name}' can't be built", code.sources):
            made = protocol.build(options, extraction)
        return {n: dataclasses.replace(e, run=note_source(e.run, name, code)) for n, e in made.items()}

    return dataclasses.replace(protocol, build=build)


def note_source(run: Run, name: str, code: OwnCode) -> Run:
    """An evaluation whose result names its code, and whose errors name their line."""

    def run_own(train: VideoFeatures, test: VideoFeatures, encoder: Encoder) -> Result:
        with explain_errors(f"protocol '{name}' failed", code.sources):
            result = run(train, test, encoder)
        if not isinstance(result, Result):
            raise OwnCodeError(f"protocol '{name}' returns a {type(result).__name__}; an evaluation returns a Result")
        result.protocol |= {"code": name, "code_hash": code.sources.hash}
        return result

    return run_own
