"""From an encoder and labels to a classifier: features, head, calibration, threshold, figures."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from unreel.classification.calibration import UNITS, Calibration, Unit, fit_calibration
from unreel.classification.classifier import Classifier
from unreel.classification.clip_features import LabelledClips, measure_parts, read_clips
from unreel.classification.figures import count_confusion, measure_unit
from unreel.classification.finetuned_network import finetune_network
from unreel.classification.heads.attentive import AttentiveHead, AttentiveTrainer
from unreel.classification.heads.head import FeatureInput, Head
from unreel.classification.heads.knn import KnnHead, KnnTrainer
from unreel.classification.heads.linear import LinearHead, LinearTrainer
from unreel.classification.held_out_scores import HeadTrainer, ScoredVideos, score_clips, train_head
from unreel.classification.training_labels import TrainingLabels
from unreel.errors import InputError, require_known, unknown_name_error
from unreel.evaluation.finetuning.recipe_presets import build_recipe
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.labelled_videos import LabelSources
from unreel.evaluation.metrics.accuracy import encode_labels
from unreel.evaluation.probes.attentive_pooling import MapTokenizer
from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol
from unreel.evaluation.protocols.knn import KnnProtocol
from unreel.io.text import preview_items
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts
from unreel.types import FileFailure, Instance, ProgressCallback
from unreel.video.loading.loaders import default_num_workers

Kind = Literal["linear", "knn", "attentive", "finetuned"]
FINETUNED = "finetuned"


@dataclass(frozen=True)
class ClassifierOptions:
    """What a classifier learns from which labels.

    `concepts` are those of an index (all if none is named), `final` trains on test videos too, `appearance` is an image
    model beside the encoder, `finetuning` has the name and fields of a recipe (finetuned alone).
    """

    kind: Kind = "linear"
    sources: LabelSources | None = None
    concepts: tuple[str, ...] = ()
    num_clips: int = 10
    appearance: str = ""
    final: bool = False
    seed: int = 0
    finetuning: Mapping[str, Any] = field(default_factory=dict)
    workers: int = field(default_factory=default_num_workers)

    @classmethod
    def from_named(cls, **named: Any) -> "ClassifierOptions":
        """Fields of this class, and beside them recipe="small" and fields of a recipe. Raises InputError.

        >>> ClassifierOptions.from_named(kind="finetuned", num_clips=1, epochs=2).finetuning
        {'epochs': 2}
        """
        own = [f.name for f in fields(cls) if f.name != "finetuning"]
        of_recipe = ["recipe", *(f.name for f in fields(Recipe) if f.name not in (*own, "name"))]
        require_known("option of a classifier", named, [*own, *of_recipe])
        return cls(
            **{name: value for name, value in named.items() if name in own},
            finetuning={name: value for name, value in named.items() if name not in own},
        )

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown_name_error("kind of classifier", self.kind, get_args(Kind))
        if self.num_clips < 1 or self.seed < 0:
            raise InputError(
                f"a classifier needs 1 clip or more and a seed of 0 or more, got {self.num_clips}, {self.seed}"
            )
        if self.finetuning and self.kind != FINETUNED:
            raise InputError(f"{', '.join(self.finetuning)}: options of a fine-tuned network; add --kind finetuned")


@dataclass(frozen=True)
class Fitted:
    """What training gave: the encoder to keep, its head, the scores it is calibrated with, and how it was made."""

    encoder: Encoder
    head: Head
    parts: RowParts
    held_out: ScoredVideos
    unknown: list[ScoredVideos]
    values: Mapping[str, float]
    failures: list[FileFailure]
    warnings: list[str] = field(default_factory=list)


def fit_classifier(
    encoder: Encoder, labels: TrainingLabels, options: ClassifierOptions, on_progress: ProgressCallback
) -> Classifier:
    """Train, calibrate and measure a classifier. No test video is seen before it is whole. Raises InputError."""
    if encoder.appearance is not None and options.kind not in ("linear", "knn"):
        raise InputError(f"--appearance goes with --kind linear or knn, whose rows have both; not with {options.kind}")
    start_s = time.monotonic()
    fit = fit_finetuned if options.kind == FINETUNED else fit_frozen
    fitted = fit(encoder, labels, options, on_progress)
    found = {unit: fit_calibration(fitted.held_out, fitted.unknown, unit) for unit in UNITS}
    calibrations: dict[Unit, Calibration] = {unit: calibration for unit, (calibration, _) in found.items()}
    train_s = time.monotonic() - start_s
    test, failures = score_test(fitted, labels, options, on_progress)
    about = {
        "training": describe_training(fitted, labels, options, failures) | {"seconds": round(train_s, 1)},
        "measured": measure(labels.classes, calibrations, fitted.held_out, test)
        | {"threshold": {unit: how for unit, (_, how) in found.items()}},
        "warnings": [*fitted.warnings, *labels.notes, *warn_uncalibrated(fitted.held_out, labels.classes)],
    }
    return Classifier(labels.classes, fitted.encoder, fitted.head, fitted.parts, calibrations, about)


def fit_frozen(
    encoder: Encoder, labels: TrainingLabels, options: ClassifierOptions, on_progress: ProgressCallback
) -> Fitted:
    """A head on frozen features."""
    sees: dict[str, FeatureInput] = {head.kind: head.sees for head in (LinearHead, KnnHead, AttentiveHead)}
    clips = read_clips(encoder, sees[options.kind], labels.train, options.num_clips, options.workers, on_progress)
    require_every_class(clips, labels.classes)
    parts = measure_parts(encoder.spec, sees[options.kind], clips)
    clips = clips.map_features(parts)
    trained = train_head(build_trainer(options, encoder, clips), clips, labels.classes, options.seed)
    return Fitted(
        encoder, trained.head, parts, trained.held_out, trained.unknown, trained.values, clips.failures
    )  # fmt: skip


def require_every_class(clips: LabelledClips, classes: Sequence[str]) -> None:
    """Raise InputError where no video of a class can be read."""
    missing = sorted(set(classes) - {i.label for i in clips.instances})
    if missing:
        first = clips.failures[0]
        raise InputError(f"no video of {', '.join(missing)} can be read; a failure is {first.path}: {first}")


def build_trainer(options: ClassifierOptions, encoder: Encoder, clips: LabelledClips) -> HeadTrainer:
    """The trainer of a kind of head, for these clips."""
    if options.kind == "linear":
        return LinearTrainer.for_clips(clips.features_NVD, options.seed)
    if options.kind == "knn":
        return KnnTrainer(KnnProtocol(seed=options.seed))
    channels, num_views = int(encoder.backbone.num_features), len(set(encoder.spec.views.names))  # type: ignore[arg-type]
    tokenizer = MapTokenizer(channels, clips.features_NVD.shape[2] // num_views)
    return AttentiveTrainer(AttentiveProtocol(seed=options.seed), tokenizer)


def fit_finetuned(
    encoder: Encoder, labels: TrainingLabels, options: ClassifierOptions, on_progress: ProgressCallback
) -> Fitted:
    """The whole network, trained once; the videos kept from it are scored as they will be in use."""
    fields = {"seed": options.seed, "workers": options.workers, **options.finetuning}
    recipe = build_recipe(fields.pop("recipe", "small"), **fields)
    trained = finetune_network(encoder, labels.train, recipe, on_progress)
    parts = RowParts.make_equal((trained.head.sees,), (trained.head.weight_CD.shape[1],))
    nothing = ScoredVideos(
        trained.head.score(trained.head.weight_CD.numpy())[:0, None], encode_labels([], labels.classes)
    )
    made = Fitted(trained.encoder, trained.head, parts, nothing, [], trained.values, trained.failures, trained.warnings)
    if not trained.held_out:
        return made
    held_out, failures = score_videos(made, trained.held_out, labels.classes, options, on_progress)
    return Fitted(
        made.encoder, made.head, parts, held_out, [], made.values, [*made.failures, *failures], made.warnings
    )  # fmt: skip


def score_videos(
    fitted: Fitted,
    instances: Sequence[Instance],
    classes: Sequence[str],
    options: ClassifierOptions,
    on_progress: ProgressCallback,
) -> tuple[ScoredVideos, list[FileFailure]]:
    """Scores of videos, and the files that could not be read. Raises InputError when none could."""
    clips = read_clips(
        fitted.encoder, fitted.head.sees, instances, options.num_clips, options.workers, on_progress
    ).map_features(fitted.parts)
    class_N = encode_labels([i.label for i in clips.instances], classes)
    return ScoredVideos(score_clips(fitted.head, clips.features_NVD), class_N, clips.instances), clips.failures


def score_test(
    fitted: Fitted, labels: TrainingLabels, options: ClassifierOptions, on_progress: ProgressCallback
) -> tuple[ScoredVideos | None, list[FileFailure]]:
    """Scores of the test videos; None where there are none, or none can be read: the classifier is whole by then."""
    if not labels.test:
        return None, []
    try:
        return score_videos(fitted, labels.test, labels.classes, options, on_progress)
    except InputError as error:
        return None, [FileFailure(labels.name, "unreadable", f"no test video can be read: {error}")]


def measure(
    classes: Sequence[str],
    calibrations: Mapping[Unit, Calibration],
    held_out: ScoredVideos,
    test: ScoredVideos | None,
) -> dict[str, Any]:
    """Figures on the training videos that were held out and on the test videos, and the confusions of the latter."""
    scored = {"held_out": held_out if len(held_out) else None, "test": test}
    figures: dict[str, Any] = {
        name: {unit: measure_unit(videos, calibrations[unit], unit) for unit in UNITS}
        for name, videos in scored.items()
        if videos is not None
    }
    shown = next((name for name in ("test", "held_out") if scored[name] is not None), None)
    videos = scored[shown] if shown else None
    if videos is not None:
        figures["confusion"] = {"of": shown, **count_confusion(videos, classes, calibrations["video"])}
    return figures


def describe_training(
    fitted: Fitted, labels: TrainingLabels, options: ClassifierOptions, test_failures: Sequence[FileFailure]
) -> dict[str, Any]:
    """What the classifier was made of."""
    failures = [("training", failure) for failure in fitted.failures] + [("test", failure) for failure in test_failures]
    per_class = {name: sum(i.label == name for i in labels.train) for name in labels.classes}
    return {
        "data": labels.name,
        "examples": "marks" if labels.has_moments else "videos",
        "videos": {"training": len(labels.train), "test": len(labels.test)},
        "per_class": per_class,
        "num_clips": options.num_clips,
        "seed": options.seed,
        "values": dict(fitted.values),
        "recipe": dict(options.finetuning),
        "left_out": [{"list": name, "path": failure.path, "reason": str(failure)} for name, failure in failures],
    }


def warn_uncalibrated(held_out: ScoredVideos, classes: Sequence[str]) -> list[str]:
    """A sentence where probabilities are as the head gives them, or are checked on other classes alone."""
    if not len(held_out):
        return [
            "No group could be held out without losing a class of the others: the probabilities are not calibrated."
        ]
    never = [name for number, name in enumerate(classes) if number not in held_out.class_N]
    if not never:
        return []
    return [
        f"No video of {preview_items(never, 10)} was held out, so its probabilities are those that the other classes "
        "calibrate; add videos of it from other groups (people, recordings, days)."
    ]
