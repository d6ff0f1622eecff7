"""Fine-tuning: an encoder and a linear layer trained together with labels, beside the same network from scratch.

What a pre-trained encoder is worth is the distance between the two. The loop is in supervised.py, the recipes, of which
two are of papers (recipes.py).
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor, nn

from unreel.errors import CheckpointError, unknown_name_error
from unreel.evaluation.baselines.trivial_baselines import build_untrained_encoder
from unreel.evaluation.feature_extraction import Progress, VideoFeatures
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.finetuning.training_loop import (
    EpochMetrics,
    FinetuneJob,
    VideoClassifier,
    average_clips,
    deterministic_mode,
    predict_logits,
    train_classifier,
)
from unreel.evaluation.leakage import check_train_test, choose_validation_groups, collect_warnings
from unreel.evaluation.probes.grid_search import (
    INTERVALS_NOTE,
    TOP_KS,
    compute_confusion,
    compute_guess_rows,
    encode_labels,
    is_in_top_k,
    list_baseline_descriptions,
    list_classes,
    summarize_row,
)
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import Encoder
from unreel.types import Instance
from unreel.video.loading.clip_dataset import ClipDataset

FINETUNED_ROW, SCRATCH_ROW = "fine-tuned", "from scratch"


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

    def is_correct(self, k: int = 1) -> np.ndarray:
        """Is the class of a test video among its `top` answers, bool (Q,); one that training has not is never."""
        return is_in_top_k(self.probabilities, encode_labels([i.label for i in self.instances], self.classes), k)


def finetune(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    recipe: Recipe,
    from_scratch: bool = False,
    on_progress: Progress | None = None,
) -> FinetuneOutcome:
    """Train a copy of the encoder, or with `scratch` the same network with fresh weights, and classify the test videos.

    The encoder is not changed; `on_progress` gets (steps done, steps in all). Raises InputError for lists that can't be
    used, NonFiniteError before a step that would spoil the weights.
    """
    check_train_test(train, test)
    job = build_job(encoder, train, test, recipe, from_scratch)
    with deterministic_mode(job):
        history, best_epoch = train_classifier(job, on_progress)
        clips = ClipDataset(test, encoder.spec.clip, encoder.spec.views.resize_hw, recipe.num_clips)
        rows, logits_QVC = predict_logits(job, clips, "test", job.workers, recipe.num_crops)
    if job.failures:
        job.warnings.append(f"{len(job.failures)} files can't be read and are left out; the protocol names them.")
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
    """The network to train, all its layers, and the training list cut in two where the recipe wants validation."""
    names = encoder.spec.views.names
    if recipe.view and recipe.view not in names:
        raise unknown_name_error("view of this encoder", recipe.view, names)
    classes, warnings = list_classes(VideoFeatures(list(train)), VideoFeatures(list(test)))
    held_N = np.zeros(len(train), bool)
    if recipe.needs_validation:
        held_N = choose_validation_groups(train, recipe.validation_share, recipe.seed)
        if not held_N.any():
            warnings.append("No class has videos of two groups, so none are held out; the last epoch is tested.")
    start = build_untrained_encoder(encoder, recipe.seed) if from_scratch else encoder
    network = VideoClassifier(copy.deepcopy(start.backbone).requires_grad_(True), len(classes), recipe)
    return FinetuneJob(
        recipe=recipe,
        spec=encoder.spec,
        network=network.to(next(encoder.backbone.parameters()).device),
        train=[i for i, held in zip(train, held_N, strict=True) if not held],
        validation=[i for i, held in zip(train, held_N, strict=True) if held],
        classes=classes,
        warnings=warnings,
    )


def describe_protocol(job: FinetuneJob, num_test: int) -> dict[str, Any]:
    """Everything that a figure depends on, as plain JSON."""
    spec, recipe = job.spec, dataclasses.asdict(job.recipe)
    recipe = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.items() if k not in ("workers", "cache_mb")}
    name = recipe.pop("name")
    return {
        "recipe": name,
        **recipe,
        "view": job.view,
        "epochs": job.total_steps // job.steps_per_epoch,
        "steps": job.total_steps,
        "precision": "bfloat16 where autocast allows" if job.device.type == "cuda" else "float32",
        **{k: v for k, v in dataclasses.asdict(spec.clip).items() if k != "lead_in"},
        "size": spec.views.size,
        "residual": dataclasses.asdict(spec.views.residual) if job.view == "residual" else None,
        "standardize": spec.views.standardize,
        "backbone": spec.backbone,
        "method": spec.method,
        "train": len(job.train),
        "validation": len(job.validation),
        "test": num_test,
        "classes": len(job.classes),
        "left_out": [{"list": which, "path": path, "reason": str(why)} for (which, path), why in job.failures.items()],
    }


def evaluate_finetune(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    recipe: Recipe,
    with_scratch: bool = True,
    on_progress: Progress | None = None,
) -> Result:
    """Accuracy of the fine-tuned encoder, of the same network from scratch unless `scratch` is off, and of guessing.

    Raises what `finetune` raises.
    """
    names = (FINETUNED_ROW, SCRATCH_ROW) if with_scratch else (FINETUNED_ROW,)
    done = {}
    for n, name in enumerate(names):
        tell = None if on_progress is None else offset_progress(on_progress, n, len(names))
        done[name] = finetune(encoder, train, test, recipe, name == SCRATCH_ROW, tell)
    first = done[FINETUNED_ROW]
    tested = VideoFeatures(first.instances)
    rows, intervals = compute_guess_rows(VideoFeatures(list(train)), tested, TOP_KS), {}
    for name, found in done.items():
        right = {column: found.is_correct(top) for column, top in TOP_KS.items()}
        rows[name], intervals[name] = summarize_row(right, right["top-1"], tested)
    known = [i for i in first.instances if i.label in first.classes]  # the others have a warning of their own
    warnings = first.warnings + collect_warnings(known, train, ())
    if len(first.classes) <= TOP_KS["top-5"]:
        warnings.append(f"top-5 says nothing: there are {len(first.classes)} classes only.")
    return Result(
        kind="finetune",
        title="Fine-tuning, accuracy in percent",
        rows=rows,
        caption=format_caption(first),
        protocol=first.protocol | {"best_epoch": {name: found.best_epoch for name, found in done.items()}},
        intervals=intervals,
        warnings=warnings,
        extras={
            "confusion": compute_confusion(first.probabilities, first.classes, tested.labels),
            "history": {name: found.history for name, found in done.items()},
        },
        floors=list_baseline_descriptions(rows),
    )


def offset_progress(on_progress: Progress, stage: int, num_stages: int) -> Progress:
    """Progress of one of several equally long trainings."""
    return lambda done, total: on_progress(stage * total + done, num_stages * total)


def format_caption(outcome: FinetuneOutcome) -> str:
    """The protocol in a few sentences."""
    p = outcome.protocol
    held = f", {p['validation']} more to choose the epoch by (whole groups)" if p["validation"] else ""
    chosen = "lowest validation loss" if p["select"] == "validation" and p["validation"] else "last"
    crops = "centre crop" if p["num_crops"] == 1 else "3 crops"
    return (
        f"{p['test']} test videos, {p['train']} training videos{held}, {p['classes']} classes; recipe {p['recipe']}: "
        f"all layers of {p['backbone']}, {p['view']} view, {p['epochs']} epochs of batches of {p['batch_size']}, "
        f"{p['optimizer']} from {p['lr']:g}, epoch tested: {chosen}; mean {p['average']} of {p['num_clips']} clips, "
        f"{crops}; per class: mean over classes of their top-1; {INTERVALS_NOTE}"
    )


def check_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError unless `state` has every weight and buffer of the network in its shape, and nothing else.

    Weights that are skipped in silence make a network that is trained from scratch look fine-tuned (docs/methods.md).
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [
        f"{n} is {tuple(state[n].shape)}, not {s}" for n, s in wanted.items() if n in state and state[n].shape != s
    ]
    lists = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "of another shape": wrong,
    }
    said = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in lists.items() if names]
    if not said:
        return
    raise CheckpointError(f"the weights do not fit the network: {'; '.join(said)}")


def load_weights(network: nn.Module, path: str | Path) -> list[str]:
    """Fill a backbone from a safetensors file, all of it or a CheckpointError; returns what is to be said about it.

    A wrapper's prefix ("module.", "backbone.") is taken off where all weights stand under one prefix and no other, and
    that is said, as are the names that do not begin with it.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: weights are read from .safetensors alone, as other files can run code")
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: the weights can't be read ({error})") from error
    said, found = [], find_prefixes(network, state)
    if len(found) == 1 and found[0]:
        left = [name for name in state if not name.startswith(found[0])]
        others = f"; {len(left)} other tensors were left aside ({', '.join(left[:3])})" if left else ""
        said = [f"{path}: the prefix '{found[0]}' was taken off the names of the weights{others}."]
        state = {name.removeprefix(found[0]): t for name, t in state.items() if name.startswith(found[0])}
    try:
        check_weights(network, state)
    except CheckpointError as error:
        several = f". Several networks are in the file: {', '.join(found)}" if len(found) > 1 else ""
        raise CheckpointError(f"{path}: {error}{several}") from error
    network.load_state_dict(state)
    return said


def find_prefixes(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """What all names of the network stand behind in `state`; "" where they stand there as they are."""
    wanted = list(network.state_dict())
    first = wanted[0] if wanted else "\0"
    found = [name.removesuffix(first) for name in state if name == first or name.endswith(f".{first}")]
    return [prefix for prefix in found if all(prefix + name in state for name in wanted)]
