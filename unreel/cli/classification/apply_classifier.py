"""`unreel classify apply`: what a classifier says of a folder, as CSV."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from unreel.cli.arguments import FolderArgument, LimitOptions, name_argument, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_count, format_path

if TYPE_CHECKING:
    from unreel.classification.predictions import Predictions


@dataclasses.dataclass
class ApplyClassifierArgs:
    """Say what videos show: seconds, class and calibrated probability, as CSV. What is done is kept beside it in
    OUT.store, so that a command that was killed goes on, and the same command takes new files alone."""

    classifier: Annotated[Positional[Path], name_argument("CLASSIFIER")]
    """What `unreel classify train` made."""
    source: FolderArgument
    """A video, a folder, a list, or an index by the same encoder, which needs no decoding."""
    out: Path
    """The CSV: video, start_s, end_s, class, probability, likeliest."""
    per: Literal["clip", "video"] = "clip"
    """A row for each clip that slides over the videos, or for each video."""
    hop_s: float = 0.0
    """Seconds from one clip to the next; 0 means half a clip."""
    num_clips: int = 10
    """Evenly spread clips whose mean is a video's answer."""
    threshold: float | None = None
    """Probability below which the class is "none of these", instead of the classifier's own; 0 never."""
    devices: int = 1
    """Processes. Ignored under torchrun or SLURM."""
    allow_import: bool = False
    """Import, and so run, the network outside unreel that the classifier names."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def apply_classifier_command(args: list[str]) -> int:
    options: ApplyClassifierArgs = parse_args(ApplyClassifierArgs, args, "classify apply")
    from unreel.classification.predictions import PredictionOptions
    from unreel.indexing.store.update import StoreUpdateOptions
    from unreel.verbs.classification.apply_classifier import apply_with_options

    wanted = PredictionOptions(options.per, options.hop_s, options.num_clips, options.threshold)
    update_options = StoreUpdateOptions(options.devices, options.allow_import, ProgressBar)
    with use_limits(options.limits):
        predictions, rank = apply_with_options(options.classifier, options.source, options.out, wanted, update_options)
    if rank == 0:
        print_predictions(options.out, predictions)
    return 0


def print_predictions(out: Path, predictions: "Predictions") -> None:
    """How many rows of each class; files left out go to standard error."""
    for failure in predictions.failures:
        stderr_console.print(escape_markup(format_path(f"left out {failure.path}: {failure}")))
    for label, count in Counter(predictions.labels).most_common():
        print(f"{count:8,}  {format_path(label)}")
    videos = len(set(predictions.paths))
    left_out = f"; {format_count(len(predictions.failures), 'file')} left out" if predictions.failures else ""
    print(f"{out}: {format_count(len(predictions), 'row')} of {format_count(videos, 'video')}{left_out}")
