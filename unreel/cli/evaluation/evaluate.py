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

from unreel.cli.arguments import LimitOptions, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.errors import InputError, unknown_name_error
from unreel.io.limits import Limits, use_limits

if TYPE_CHECKING:
    from unreel.evaluation.result import Result
    from unreel.evaluation.standard_suite import Evaluation, ExtractionOptions

EVALUATE_USAGE = """usage: unreel evaluate WHAT RUN DATA [OPTIONS]    (--help after WHAT tells its options)

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
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


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

    def build_evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.protocols.retrieval import build_retrieval_protocol
        from unreel.evaluation.standard_suite import build_retrieval

        changes = {n: getattr(self, n) for n in ("layer", "centring", "unit", "num_clips", "num_crops")}
        name = "retrieval" if self.protocol == "iic" else f"retrieval-{self.protocol}"
        return {name: build_retrieval(build_retrieval_protocol(self.protocol, **changes))}


@dataclasses.dataclass
class KnnArgs(FeatureArgs):
    """Classes by the votes of the k nearest training videos."""

    ks: tuple[int, ...] = (1, 5, 10, 20)
    """How many neighbours vote."""
    temperature: float = 0.07
    """A vote weighs exp(cosine / temperature)."""
    layer: Literal["pooled", "conv5"] = "pooled"
    """Which features."""

    def build_evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.protocols.knn import KnnProtocol
        from unreel.evaluation.standard_suite import build_knn

        return {"knn": build_knn(KnnProtocol(self.ks, self.temperature, self.layer))}


@dataclasses.dataclass
class LinearArgs(FeatureArgs):
    """A linear classifier on frozen features; its values are chosen on a part of the training videos, by group."""

    kind: Literal["auto", "logistic", "sgd", "cvrl"] = "auto"
    """Logistic regression (small data), a grid of rates and decays by SGD, or CVRL's fixed rate."""
    seed: int = 0
    """Of the validation part and the order of batches."""

    def build_evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.protocols.linear_probe import LinearProtocol
        from unreel.evaluation.standard_suite import build_linear_probe

        return {"linear": build_linear_probe(LinearProtocol(kind=self.kind, seed=self.seed))}


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

    def build_evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.protocols.label_sampling import DrawPlan
        from unreel.evaluation.standard_suite import build_few_labels

        return {"few-labels": build_few_labels(DrawPlan(self.ks, self.shares, self.draws))}


@dataclasses.dataclass
class MotionArgs(FeatureArgs):
    """What is left when motion, or the order of frames, is taken from the clips."""

    layer: Literal["pooled", "conv5"] = "pooled"
    """Which features."""

    def build_evaluations(self) -> "dict[str, Evaluation]":
        from unreel.evaluation.protocols.motion import MotionProtocol
        from unreel.evaluation.standard_suite import build_motion

        return {"motion": build_motion(MotionProtocol(self.layer))}


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
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def evaluate_command(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(EVALUATE_USAGE)
        return 0
    if args[0] not in EVALUATIONS:
        raise unknown_name_error("evaluation", args[0], EVALUATIONS)
    kind, run = EVALUATIONS[args[0]]
    given = parse_args(kind, args[1:], f"evaluate {args[0]}")
    with use_limits(given.limits), ProgressBar("evaluating") as advance:
        results = run(given, advance)
    print_results(results, given.json)
    if args[0] == "all" and not given.json:
        print(f"\nreport: {given.out / 'report.html'}")
    return 0


def print_results(results: "dict[str, Result]", as_json: bool) -> None:
    """Tables, or JSON; what is to be borne in mind goes to standard error, each sentence once."""
    plain = {name: result.to_json() for name, result in results.items()}
    if as_json:
        print(json.dumps(plain if len(plain) > 1 else next(iter(plain.values())), indent=2))
    for result in [] if as_json else results.values():
        Console().print(result.to_table())
        for sentence in result.extras.get("said", []):
            print(sentence)
    for warning in dict.fromkeys(w for result in results.values() for w in result.warnings):
        stderr_console.print(escape_markup(f"note: {warning}"))


def build_label_sources(args: EncoderArgs) -> Any:
    from unreel.verbs.evaluate import LabelSources

    return LabelSources(args.layout, args.split, args.train, args.test, args.splits)


def load_evaluated_encoder(args: EncoderArgs) -> Any:
    from unreel.verbs.evaluate import load_encoder_at_rate

    return load_encoder_at_rate(args.run, args.fps, args.stride_frames, args.allow_import)


def build_feature_options(args: FeatureArgs) -> "ExtractionOptions":
    from unreel.evaluation.standard_suite import ExtractionOptions
    from unreel.video.loading.loaders import default_num_workers

    asked = {"fps": args.fps, "stride_frames": args.stride_frames}
    rate = ", ".join(f"{name} {value:g}" for name, value in asked.items() if value is not None)
    given_rate = {"rate": rate} if rate else {}
    return ExtractionOptions(
        args.num_clips, args.num_crops, args.floors, args.baseline, default_num_workers(), **given_rate
    )


def evaluate_on_features(args: Any, on_progress: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.verbs.evaluate import evaluate

    encoder, looking = load_evaluated_encoder(args), build_feature_options(args)
    return evaluate(
        encoder, args.run, args.data, args.build_evaluations(), build_label_sources(args), looking, on_progress
    )


def evaluate_attentive(args: AttentiveArgs, on_progress: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol
    from unreel.evaluation.standard_suite import build_attentive_probe
    from unreel.verbs.evaluate import evaluate

    encoder = load_evaluated_encoder(args)
    asked = {"attentive": build_attentive_probe(AttentiveProtocol(seed=args.seed), encoder.backbone.num_features)}
    return evaluate(
        encoder, args.run, args.data, asked, build_label_sources(args), build_feature_options(args), on_progress
    )


def evaluate_few_labels(args: FewLabelsArgs, on_progress: Callable[[int, int], None]) -> "dict[str, Result]":
    if not args.finetune:
        return evaluate_on_features(args, on_progress)
    from unreel.verbs.evaluate import evaluate_few_label_finetuning

    if args.baseline or args.num_crops != 1:
        raise InputError("--finetune trains one network: --baseline and --num-crops go with frozen features")
    from unreel.evaluation.protocols.label_sampling import DrawPlan

    plan = DrawPlan(args.ks, args.shares, args.draws)
    return evaluate_few_label_finetuning(
        load_evaluated_encoder(args), args.run, args.data, build_label_sources(args), plan, args.num_clips, on_progress
    )


def evaluate_finetune(args: FinetuneArgs, on_progress: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.verbs.evaluate import evaluate_finetuning

    names = ("epochs", "lr", "batch_size", "view", "num_crops", "num_clips", "seed")
    changes = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    where = (args.run, args.data, build_label_sources(args))
    return evaluate_finetuning(
        load_evaluated_encoder(args), *where, args.recipe, changes, args.scratch, args.weights, on_progress=on_progress
    )


def evaluate_detection(args: DetectionArgs, on_progress: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.verbs.evaluate import evaluate_detection_set

    options = {
        "finetune": args.finetune,
        "proposals": str(args.proposals or ""),
        "least_score": args.least_score,
        "save_detections": str(args.save_detections or ""),
        "seed": args.seed,
    }
    return evaluate_detection_set(args.run, args.data, options, args.clock_s, args.allow_import, on_progress)


def evaluate_everything(args: AllArgs, on_progress: Callable[[int, int], None]) -> "dict[str, Result]":
    from unreel.verbs.evaluate_all import evaluate_all

    command = shlex.join(["unreel", *sys.argv[1:]])
    where = (args.run, args.data, args.out, build_label_sources(args), build_feature_options(args))
    return evaluate_all(load_evaluated_encoder(args), *where, args.finetune, on_progress, command)


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
    given = parse_args(CompareArgs, args, "compare")
    from unreel.report.comparison.compare import compare_evaluations, write_comparison

    page = write_comparison(given.evaluations, given.out, given.seeds) if given.out else None
    for table in compare_evaluations(given.evaluations, given.seeds).to_tables():
        Console().print(table)
    if page:
        print(f"page: {page}")
    return 0


EVALUATIONS: dict[str, tuple[Any, Callable[[Any, Callable[[int, int], None]], "dict[str, Result]"]]] = {
    "retrieval": (RetrievalArgs, evaluate_on_features),
    "knn": (KnnArgs, evaluate_on_features),
    "linear": (LinearArgs, evaluate_on_features),
    "attentive": (AttentiveArgs, evaluate_attentive),
    "few-labels": (FewLabelsArgs, evaluate_few_labels),
    "motion": (MotionArgs, evaluate_on_features),
    "finetune": (FinetuneArgs, evaluate_finetune),
    "detection": (DetectionArgs, evaluate_detection),
    "all": (AllArgs, evaluate_everything),
}
