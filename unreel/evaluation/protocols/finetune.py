"""Fine-tuning: an encoder and a linear layer trained together on labels, beside the same network from scratch.

The difference between the two is what pre-training is worth. Source: the fine-tuning of Tao, Wang and Yamasaki 2020
(BestJuly/IIC) and of Zhang et al. 2021 (lzhangbj/DualVar); their recipes are in finetuning/recipe_presets.py.
"""

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unreel.errors import unknown_name_error
from unreel.evaluation.baselines.chance import compute_guess_intervals, compute_guess_rows
from unreel.evaluation.baselines.descriptions import describe_classifier_baselines
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER, build_untrained_encoder
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.finetuning.classifier import VideoClassifier
from unreel.evaluation.finetuning.job import FinetuneJob, adapt_spec
from unreel.evaluation.finetuning.prediction import average_clips, predict_logits
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.finetuning.training_loop import EpochMetrics, deterministic_mode, train_network
from unreel.evaluation.leakage import check_train_test, collect_warnings
from unreel.evaluation.metrics.accuracy import (
    INTERVALS_NOTE,
    MAIN_COLUMN,
    TOP_KS,
    compute_confusion,
    encode_labels,
    is_in_top_k,
    list_classes,
    list_outcomes,
    summarize_row,
    warn_few_classes,
)
from unreel.evaluation.protocol_description import describe_encoder_input, describe_test_videos
from unreel.evaluation.result import Result
from unreel.evaluation.validation_split import choose_validation_groups
from unreel.io.text import format_count
from unreel.models.encoder.encoder import Encoder
from unreel.types import Instance
from unreel.video.loading.clip_dataset import ClipDataset

FINETUNED_ROW, SCRATCH_ROW, LINEAR_ROW = "fine-tuned", "from scratch", "linear"
LATER_FIELDS = {"trained", "normalize", "head_glorot", "frames_factor", "rate_factor", "hold_short", "raw_residual"}
LATER_FIELDS |= {"plain_input", "warmup_epochs", "lr_batch", "hold_out", "test_crop", "batch_norm"}
"""Fields of a recipe that stand in the protocol only where they are set: results without them stay comparable."""


@dataclass
class FinetuneOutcome:
    """Probabilities float64 (Q, C) of the test videos that could be read, over `classes`, and how training went.

    A row of `history` is an epoch: lr, train_loss, and validation_loss and validation_top1 (percent) where there are
    validation videos. `protocol` has what the figures depend on, `network` is the trained one, in eval mode.
    """

    instances: list[Instance]
    classes: list[str]
    probabilities: np.ndarray
    history: list[EpochMetrics]
    best_epoch: int
    network: VideoClassifier
    protocol: dict[str, Any]
    warnings: list[str]

    @property
    def labels(self) -> list[str]:
        return [i.label for i in self.instances]

    @property
    def known_instances(self) -> list[Instance]:
        """Test videos of a class that training shows; the others have a warning of their own."""
        return [i for i in self.instances if i.label in self.classes]

    def is_correct(self, k: int = 1) -> np.ndarray:
        """Whether the class of a test video is among its k best, bool (Q,); never for one without training videos."""
        return is_in_top_k(self.probabilities, encode_labels(self.labels, self.classes), k)


def finetune(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    recipe: Recipe,
    from_scratch: bool = False,
    on_progress: Progress | None = None,
) -> FinetuneOutcome:
    """Train a copy of the encoder, or of the same network with fresh weights, and classify the test videos.

    The encoder does not change; `on_progress` gets (steps done, total steps). Raises InputError for lists that can't be
    used, NonFiniteError before a step that would spoil the weights.
    """
    check_train_test(train, test)
    job = build_job(encoder, train, test, recipe, from_scratch)
    with deterministic_mode(job):
        history, best_epoch = train_network(job, on_progress)
        clips = ClipDataset(test, job.spec.clip, job.spec.views.resize_hw, recipe.num_clips)
        rows, logits_QVC = predict_logits(job, clips, "test", job.workers, recipe.num_crops)
    if job.failures:
        job.warnings.append(f"{len(job.failures)} files can't be read and are left out; the protocol lists them.")
    return FinetuneOutcome(
        instances=[test[n] for n in rows],
        classes=job.classes,
        probabilities=average_clips(logits_QVC, recipe.average),
        history=history,
        best_epoch=best_epoch,
        network=job.network.eval(),
        protocol=describe_protocol(job, len(rows)),
        warnings=job.warnings,
    )


def build_job(
    encoder: Encoder, train: Sequence[Instance], test: Sequence[Instance], recipe: Recipe, from_scratch: bool
) -> FinetuneJob:
    """The network to train, all its layers, and the training list split where the recipe needs validation videos."""
    names = encoder.spec.views.names
    if recipe.view and recipe.view not in names:
        raise unknown_name_error("view of this encoder", recipe.view, names)
    classes, warnings = list_classes([i.label for i in train], [i.label for i in test])
    held_N = np.zeros(len(train), bool)
    if recipe.needs_validation:
        held_N = choose_validation_groups(train, recipe.validation_share, recipe.seed)
        if not held_N.any():
            warnings.append("No class has videos of two groups, so none are held out; the last epoch is tested.")
    start = build_untrained_encoder(encoder, recipe.seed) if from_scratch else encoder
    backbone = copy.deepcopy(start.backbone).requires_grad_(recipe.trained == "all")
    network = VideoClassifier(backbone, len(classes), recipe)
    return FinetuneJob(
        recipe=recipe,
        spec=adapt_spec(encoder.spec, recipe),
        network=network.to(next(encoder.backbone.parameters()).device),
        train=[i for i, held in zip(train, held_N, strict=True) if not held],
        validation=[i for i, held in zip(train, held_N, strict=True) if held],
        classes=classes,
        warnings=warnings,
    )


def describe_protocol(job: FinetuneJob, num_test: int) -> dict[str, Any]:
    """Everything that a figure depends on, as plain JSON."""
    recipe = dataclasses.asdict(job.recipe)
    unset = {f.name for f in dataclasses.fields(Recipe) if f.name in LATER_FIELDS and recipe[f.name] == f.default}
    unset |= {"workers", "cache_mb"}
    recipe = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.items() if k not in unset}
    name = recipe.pop("name")
    return {
        "recipe": name,
        **recipe,
        "view": job.view,
        "epochs": job.total_steps // job.steps_per_epoch,
        "steps": job.total_steps,
        "precision": "bfloat16 where autocast allows" if job.device.type == "cuda" else "float32",
        **describe_encoder_input(job.spec, [job.view]),
        "train": len(job.train),
        "validation": len(job.validation),
        "test": num_test,
        "classes": len(job.classes),
        "left_out": [
            {"list": split, "path": path, "reason": str(failure)} for (split, path), failure in job.failures.items()
        ],
    }


def evaluate_finetune(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    recipe: Recipe,
    with_scratch: bool = True,
    on_progress: Progress | None = None,
) -> Result:
    """Accuracy of the fine-tuned encoder, of the same network from scratch if `with_scratch`, and of guessing.

    Raises what `finetune` raises.
    """
    is_linear = recipe.trained == "linear"
    pair = (LINEAR_ROW, UNTRAINED_ENCODER) if is_linear else (FINETUNED_ROW, SCRATCH_ROW)
    names = pair if with_scratch else pair[:1]
    trained, outcomes = {}, {}
    for n, name in enumerate(names):
        progress = None if on_progress is None else stage_progress(on_progress, n, len(names))
        trained[name] = finetune(encoder, train, test, recipe, n == 1, progress)
    first = trained[names[0]]
    groups, train_labels = [i.group for i in first.instances], [i.label for i in train]
    rows = compute_guess_rows(train_labels, first.labels, TOP_KS)
    intervals = compute_guess_intervals(train_labels, first.labels, TOP_KS, groups)
    for name, outcome in trained.items():
        right = {column: outcome.is_correct(k) for column, k in TOP_KS.items()}
        rows[name], intervals[name] = summarize_row(right, right[MAIN_COLUMN], first.labels, groups)
        outcomes[name] = list_outcomes(right)
    return Result(
        kind="linear-recipe" if is_linear else "finetune",
        title=f"Linear layer by the recipe {recipe.name}, accuracy in percent"
        if is_linear
        else "Fine-tuning, accuracy in percent",
        rows=rows,
        caption=format_caption(first),
        protocol=first.protocol | {"best_epoch": {name: outcome.best_epoch for name, outcome in trained.items()}},
        intervals=intervals,
        outcomes=outcomes,
        test_videos=describe_test_videos(first.instances),
        warnings=first.warnings
        + collect_warnings(first.known_instances, train, ())
        + warn_few_classes(len(first.classes)),
        extras={
            "confusion": compute_confusion(first.probabilities, first.classes, first.labels),
            "history": {name: outcome.history for name, outcome in trained.items()},
        },
        floors=describe_classifier_baselines(rows),
        main_column=MAIN_COLUMN,
    )


def stage_progress(on_progress: Progress, stage: int, num_stages: int) -> Progress:
    """Progress of one of several equally long trainings."""
    return lambda done, total: on_progress(stage * total + done, num_stages * total)


def format_caption(outcome: FinetuneOutcome) -> str:
    """The protocol in a few sentences."""
    p = outcome.protocol
    held = f", {p['validation']} more to choose the epoch by (whole groups)" if p["validation"] else ""
    chosen = "lowest validation loss" if p["select"] == "validation" and p["validation"] else "last"
    crops = "centre crop" if p["num_crops"] == 1 else f"{p['num_crops']} crops"
    trained = "a linear layer on frozen features" if p.get("trained") == "linear" else "all layers"
    return (
        f"{format_count(p['test'], 'test video')}, {format_count(p['train'], 'training video')}{held}, "
        f"{format_count(p['classes'], 'class')}; recipe {p['recipe']}: "
        f"{trained} of {p['backbone']}, {p['view']} view, {format_count(p['epochs'], 'epoch')} of batches of "
        f"{p['batch_size']}, "
        f"{p['optimizer']} from {p['lr']:g}, epoch tested: {chosen}; mean {p['average']} of "
        f"{format_count(p['num_clips'], 'clip')}, "
        f"{crops}; per class: mean over classes of their top-1; {INTERVALS_NOTE}"
    )
