"""Fine-tuning on labelled videos, all of them or few."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unreel.errors import InputError
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.finetuning.pretrained_weights import load_weights
from unreel.evaluation.finetuning.recipe_presets import RECIPE_PRESETS, build_recipe
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.labelled_videos import LabelSources, load_labelled_videos
from unreel.evaluation.protocols.few_labels import finetune_few_labels
from unreel.evaluation.protocols.finetune import evaluate_finetune
from unreel.evaluation.protocols.label_sampling import DrawPlan
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import Encoder
from unreel.verbs.evaluation.saved_results import annotate_result, save_result


def evaluate_finetuning(
    encoder: Encoder,
    run: Path,
    data: Path,
    sources: LabelSources,
    recipe: str = "small",
    overrides: Mapping[str, Any] | None = None,
    scratch: bool = True,
    weights: Path | None = None,
    on_progress: Progress | None = None,
    presets: Mapping[str, Callable[[], Recipe]] = RECIPE_PRESETS,
) -> dict[str, Result]:
    """Fine-tune an encoder on labelled videos, beside the same network from scratch if `scratch`.

    `overrides` are fields of the recipe (None leaves a value), `weights` replaces the backbone's weights. `presets` has
    the recipe: those of fine-tuning, or of a linear layer on a frozen network. Raises UnreelError.
    """
    videos = load_labelled_videos(data, sources)
    notes = load_weights(encoder.backbone, weights) if weights else []
    changes = {name: value for name, value in (overrides or {}).items() if value is not None}
    chosen = build_recipe(recipe, presets, **changes)
    result = evaluate_finetune(encoder, videos.train, videos.test, chosen, scratch, on_progress)
    annotate_result(result, encoder, run, videos)
    result.warnings += notes
    result.protocol["weights"] = str(weights or "the checkpoint's")
    name = f"linear-{recipe}" if chosen.trained == "linear" else "finetune"
    save_result(result, name, run, data)
    return {name: result}


def evaluate_few_label_finetuning(
    encoder: Encoder,
    run: Path,
    data: Path,
    sources: LabelSources,
    plan: DrawPlan,
    num_clips: int,
    on_progress: Progress | None = None,
) -> dict[str, Result]:
    """Fine-tune on few labels, beside the same network from scratch. Raises UnreelError."""
    videos = load_labelled_videos(data, sources)
    recipe = build_recipe(num_clips=num_clips)
    result = finetune_few_labels(encoder, videos.train, videos.test, recipe, plan, on_progress)
    annotate_result(result, encoder, run, videos)
    save_result(result, "few-labels-finetuned", run, data)
    return {"few-labels-finetuned": result}


def require_one_network(num_baselines: int, num_crops: int) -> None:
    """Raises InputError for options that fine-tuning on few labels does not have."""
    if num_baselines or num_crops != 1:
        raise InputError(
            "--finetune and --recipe train one network: --baseline (and --num-crops with --finetune) go with cached "
            "features"
        )
