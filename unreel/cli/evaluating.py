"""`unreel evaluate`: figures on labelled videos, each with the protocol it was taken under; and `unreel compare`."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from tyro.conf import Positional

from unreel.cli.terminal import escape, parse, progress, stderr
from unreel.errors import InputError, unknown

if TYPE_CHECKING:
    from unreel.evaluation.result import Result
    from unreel.evaluation.suite import Evaluation, Looking

USAGE = """usage: unreel evaluate WHAT RUN DATA [OPTIONS]    (--help after WHAT tells its options)

  retrieval    nearest neighbours: R@k and mAP, in the protocol of IIC or of DualVar
  knn          classes by the votes of the nearest training videos
  linear       a linear classifier on frozen features
  attentive    a classifier that chooses where and when in the last map to look
  few-labels   a linear classifier with 1, 5 and 10 labelled videos of each class
  motion       what is left when clips are frozen, shuffled, reversed
  finetune     the whole network trained on the labels, beside the same from scratch
  detection    who does what where: boxes in AVA's format
  all          everything on frozen features in one pass, with a report: --out EVAL

DATA is a folder of class folders, with train.txt and test.txt, or UCF101, HMDB51, Kinetics, Something-Something V2,
Diving48 as they are downloaded; `unreel data check DATA` tells what is missing."""


@dataclasses.dataclass
class EncoderArgs:
    """An encoder, and how it looks at labelled videos."""

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
    """Which official split."""
    num_clips: int = 10
    """Clips per video, evenly spread."""
    fps: float | None = None
    """Frames per second of a clip, instead of the encoder's own."""
    stride_frames: int | None = None
    """Take every n-th frame, instead of the encoder's own rate."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the checkpoint names."""
    json: bool = False
    """Print figures and protocol as JSON to standard output."""


@dataclasses.dataclass
class FeatureArgs(EncoderArgs):
    """What stands beside the encoder."""

    num_crops: Literal[1, 3] = 1
    """1 is the centre; 3 are left, centre and right."""
    baseline: tuple[Path, ...] = ()
    """Folders of transformers image or video models, frozen, as further rows."""
    floors: bool = True
    """Pixels, colours, frame difference and the untrained network as further rows."""


@dataclasses.dataclass
class RetrievalArgs(FeatureArgs):
    """Nearest neighbours: test videos ask, training videos answer; floors stand beside."""

    protocol: Literal["iic", "dualvar"] = "iic"
    """iic: max-pooled map, not centred; dualvar: averaged map, centred."""
    layer: Literal["conv5", "pooled", "map"] | None = None
    """Another layer than the protocol's."""
    centring: Literal["none", "gallery", "own"] | None = None
    """Subtract nothing, the gallery's mean, or from each side its own (the DualVar release; it uses the test set)."""
    unit: Literal["video", "clip"] = "video"
    """Rank videos, or single clips."""

    def evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.retrieval import protocol_named
        from unreel.evaluation.suite import of_retrieval

        changes = {n: getattr(self, n) for n in ("layer", "centring", "unit", "num_clips", "num_crops")}
        name = "retrieval" if self.protocol == "iic" else f"retrieval-{self.protocol}"
        return {name: of_retrieval(protocol_named(self.protocol, **changes))}


@dataclasses.dataclass
class KnnArgs(FeatureArgs):
    """Classes by the votes of the k nearest training videos."""

    ks: tuple[int, ...] = (1, 5, 10, 20)
    """How many neighbours vote."""
    temperature: float = 0.07
    """A vote weighs exp(cosine / temperature)."""
    layer: Literal["pooled", "conv5"] = "pooled"
    """Which features."""

    def evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.knn import KnnProtocol
        from unreel.evaluation.suite import of_knn

        return {"knn": of_knn(KnnProtocol(self.ks, self.temperature, self.layer))}


@dataclasses.dataclass
class LinearArgs(FeatureArgs):
    """A linear classifier on frozen features; its values are chosen on a part of the training videos, by group."""

    kind: Literal["auto", "logistic", "sgd", "cvrl"] = "auto"
    """Logistic regression (small data), a grid of rates and decays by SGD, or CVRL's fixed rate."""
    seed: int = 0
    """Of the validation part and the order of batches."""

    def evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.linear import LinearProtocol
        from unreel.evaluation.suite import of_linear

        return {"linear": of_linear(LinearProtocol(kind=self.kind, seed=self.seed))}


@dataclasses.dataclass
class AttentiveArgs(FeatureArgs):
    """A classifier that chooses where and when in the last map to look."""

    seed: int = 0
    """Of the validation part, the weights and the order of batches."""


@dataclasses.dataclass
class FewLabelsArgs(FeatureArgs):
    """A classifier on frozen features with few labelled videos of each class, mean over draws."""

    ks: tuple[int, ...] = (1, 5, 10)
    """Labelled videos of each class."""
    shares: tuple[float, ...] = ()
    """Shares of the training videos as well: 0.01 is 1 percent."""
    draws: int = 5
    """Seeds of the draw."""
    finetune: bool = False
    """Train the whole network on each draw, beside the same from scratch: ten minutes and more on a CPU."""

    def evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.suite import of_few_labels

        return {"few-labels": of_few_labels(self.ks, self.shares, self.draws)}


@dataclasses.dataclass
class MotionArgs(FeatureArgs):
    """What is left when motion, or the order of frames, is taken from the clips."""

    layer: Literal["pooled", "conv5"] = "pooled"
    """Which features."""

    def evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.motion import MotionProtocol
        from unreel.evaluation.suite import of_motion

        return {"motion": of_motion(MotionProtocol(self.layer))}


@dataclasses.dataclass
class AllArgs(FeatureArgs):
    """Every evaluation on frozen features, from one pass over the videos: EVAL/results.json and EVAL/report.html."""

    out: Path = dataclasses.field(kw_only=True)
    """Folder to make; must not exist yet."""
    finetune: bool = False
    """Fine-tune as well, beside the same from scratch: minutes on a CPU for a few hundred videos."""


@dataclasses.dataclass
class FinetuneArgs(EncoderArgs):
    """Train the whole network on the labels, and the same network from scratch."""

    recipe: Literal["small", "iic", "dualvar"] = "small"
    """Ours for small data, or a paper's."""
    epochs: int | None = None
    """Instead of the recipe's."""
    lr: float | None = None
    """Instead of the recipe's."""
    batch_size: int | None = None
    """Instead of the recipe's."""
    view: str | None = None
    """Which of the encoder's views the network is given; by default the recipe's: residual for iic, else the first."""
    num_crops: Literal[1, 3] = 1
    """Crops of each clip at test."""
    scratch: bool = True
    """Train the same network from fresh weights too."""
    weights: Path | None = None
    """Begin with the backbone in this safetensors file instead; it must fit wholly."""
    seed: int = 0
    """Same seed, same figures on a CPU."""


@dataclasses.dataclass
class DetectionArgs:
    """Who does what where: a head on the regions of boxes, frame-mAP at IoU 0.5 as AVA measures it."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    data: Positional[Path]
    """Videos with train.csv and test.csv in AVA's format."""
    finetune: bool = False
    """Train the backbone too."""
    proposals: Path | None = None
    """Boxes of a person detector at test, instead of the true ones."""
    least_score: float = 0.0
    """Leave out proposals below this score."""
    save_detections: Path | None = None
    """Write the detections here, in AVA's format."""
    clock_s: float = 0.0
    """Second of the annotations' clock at which the files begin: 900 for AVA's files cut at 15 minutes."""
    seed: int = 0
    """Of the head's weights and the order of batches."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the checkpoint names."""
    json: bool = False
    """Print figures and protocol as JSON to standard output."""


def evaluate_command(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if args[0] not in EVALUATIONS:
        raise unknown("evaluation", args[0], EVALUATIONS)
    kind, run = EVALUATIONS[args[0]]
    given = parse(kind, args[1:], f"evaluate {args[0]}")
    with progress("evaluating") as advance:
        results = run(given, advance)
    shown(results, given.json)
    if args[0] == "all" and not given.json:
        print(f"\nreport: {given.out / 'report.html'}")
    return 0


def shown(results: "dict[str, Result]", as_json: bool) -> None:
    """Tables, or JSON; what is to be borne in mind goes to standard error, each sentence once."""
    plain = {name: result.to_json() for name, result in results.items()}
    if as_json:
        print(json.dumps(plain if len(plain) > 1 else next(iter(plain.values())), indent=2))
    for result in [] if as_json else results.values():
        Console().print(result.table())
        for sentence in result.extras.get("said", []):
            print(sentence)
    for warning in dict.fromkeys(w for result in results.values() for w in result.warnings):
        stderr.print(escape(f"note: {warning}"))


def lists_of(given: EncoderArgs) -> Any:
    from unreel.api.evaluating import Lists

    return Lists(given.layout, given.split, given.train, given.test, given.splits)


def encoder_of(given: EncoderArgs) -> Any:
    from unreel.api.evaluating import encoder_for

    return encoder_for(given.run, given.fps, given.stride_frames, given.allow_import)


def looking_of(given: FeatureArgs) -> "Looking":
    from unreel.evaluation.suite import Looking
    from unreel.video.dataset import default_workers

    asked = {"fps": given.fps, "stride_frames": given.stride_frames}
    rate = ", ".join(f"{name} {value:g}" for name, value in asked.items() if value is not None)
    given_rate = {"rate": rate} if rate else {}
    return Looking(given.num_clips, given.num_crops, given.floors, given.baseline, default_workers(), **given_rate)


def on_features(given: Any, advance: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.api.evaluating import evaluate

    encoder, looking = encoder_of(given), looking_of(given)
    return evaluate(encoder, given.run, given.data, given.evaluations(), lists_of(given), looking, advance)


def attentive(given: AttentiveArgs, advance: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.api.evaluating import evaluate
    from unreel.evaluation.attentive import AttentiveProtocol
    from unreel.evaluation.suite import of_attentive

    encoder = encoder_of(given)
    asked = {"attentive": of_attentive(AttentiveProtocol(seed=given.seed), encoder.backbone.num_features)}
    return evaluate(encoder, given.run, given.data, asked, lists_of(given), looking_of(given), advance)


def few_labels(given: FewLabelsArgs, advance: Callable[[int, int], None]) -> "dict[str, Result]":
    if not given.finetune:
        return on_features(given, advance)
    from unreel.api.evaluating import evaluate_few_finetuned

    if given.baseline or given.num_crops != 1:
        raise InputError("--finetune trains one network: --baseline and --num-crops go with frozen features")
    plan = (given.ks, given.shares, given.draws)
    return evaluate_few_finetuned(
        encoder_of(given), given.run, given.data, lists_of(given), plan, given.num_clips, advance
    )


def finetuning(given: FinetuneArgs, advance: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.api.evaluating import evaluate_finetuned

    names = ("epochs", "lr", "batch_size", "view", "num_crops", "num_clips", "seed")
    changes = {n: getattr(given, n) for n in names if getattr(given, n) is not None}
    where = (given.run, given.data, lists_of(given))
    return evaluate_finetuned(
        encoder_of(given), *where, given.recipe, changes, given.scratch, given.weights, on_progress=advance
    )


def detecting(given: DetectionArgs, advance: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.api.evaluating import evaluate_detected

    options = {
        "finetune": given.finetune,
        "proposals": str(given.proposals or ""),
        "least_score": given.least_score,
        "save_detections": str(given.save_detections or ""),
        "seed": given.seed,
    }
    return evaluate_detected(given.run, given.data, options, given.clock_s, given.allow_import, advance)


def everything(given: AllArgs, advance: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.api.evaluating_all import evaluate_all

    command = shlex.join(["unreel", *sys.argv[1:]])
    where = (given.run, given.data, given.out, lists_of(given), looking_of(given))
    return evaluate_all(encoder_of(given), *where, given.finetune, advance, command)


@dataclasses.dataclass
class CompareArgs:
    """Evaluations side by side; figures of different protocols or data never share a table."""

    evaluations: Positional[tuple[Path, ...]]
    """Folders that `unreel evaluate all` wrote."""
    out: Path | None = None
    """Write a page here too (.html)."""
    seeds: bool = True
    """Show runs that differ in nothing but their seed as one row, mean and deviation."""


def compare_command(args: list[str]) -> int:
    given = parse(CompareArgs, args, "compare")
    from unreel.report.compare import compare, write_comparison

    page = write_comparison(given.evaluations, given.out, given.seeds) if given.out else None
    for table in compare(given.evaluations, given.seeds).tables():
        Console().print(table)
    if page:
        print(f"page: {page}")
    return 0


EVALUATIONS: dict[str, tuple[Any, Callable[[Any, Callable[[int, int], None]], "dict[str, Result]"]]] = {
    "retrieval": (RetrievalArgs, on_features),
    "knn": (KnnArgs, on_features),
    "linear": (LinearArgs, on_features),
    "attentive": (AttentiveArgs, attentive),
    "few-labels": (FewLabelsArgs, few_labels),
    "motion": (MotionArgs, on_features),
    "finetune": (FinetuneArgs, finetuning),
    "detection": (DetectionArgs, detecting),
    "all": (AllArgs, everything),
}
