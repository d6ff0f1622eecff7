"""Training on labelled videos: the whole network on all of them or few, or a linear layer as a paper trains it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.errors import InputError
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.finetuning.pretrained_weights import load_weights
from unreel.evaluation.finetuning.recipe_presets import LINEAR_RECIPES, RECIPE_PRESETS, build_recipe
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.labelled_videos import LabelledVideos
from unreel.evaluation.protocols.few_labels import finetune_few_labels
from unreel.evaluation.protocols.finetune import evaluate_finetune
from unreel.evaluation.protocols.label_sampling import DrawPlan
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import Encoder
from unreel.verbs.evaluation.saved_results import EvaluationTarget

FINETUNE, LINEAR, FEW_LABELS = "finetune", "linear", "few-labels"


@dataclass(frozen=True)
class FinetuneOptions:
    """How a network is trained on labels.

    `changes` are fields of the recipe (None leaves a value), `scratch` trains the same network from random weights too,
    `weights` replaces the backbone's, `plan` draws few labels. `presets` has the recipe: those of fine-tuning, or of a
    linear layer on a frozen network.
    """

    recipe: str = "small"
    changes: Mapping[str, Any] = field(default_factory=dict)
    scratch: bool = True
    weights: Path | None = None
    plan: DrawPlan | None = None
    presets: Mapping[str, Callable[[], Recipe]] = field(default_factory=lambda: RECIPE_PRESETS)

    def change(self, **values: Any) -> "FinetuneOptions":
        """The same with further values of the recipe changed."""
        return dataclasses.replace(self, changes={**self.changes, **values})

    def build_recipe(self) -> Recipe:
        """The recipe with its changes. Raises InputError."""
        changes = {name: value for name, value in self.changes.items() if value is not None}
        return build_recipe(self.recipe, self.presets, **changes)

    @property
    def result_name(self) -> str:
        if self.plan is not None:
            return "few-labels-finetuned"
        return f"linear-{self.recipe}" if self.presets is LINEAR_RECIPES else FINETUNE


def choose_training(name: str, options: Mapping[str, Any]) -> FinetuneOptions | None:
    """What `evaluate NAME` trains with these options; None where it takes frozen features. Raises InputError."""
    given = dict(options)
    if name == FINETUNE:
        named = {key: given.pop(key) for key in ("recipe", "scratch", "weights") if key in given}
        return FinetuneOptions(changes=given, **named)
    if name == LINEAR and (given.get("recipe") or "none") != "none":
        given.pop("kind", None)
        return FinetuneOptions(given.pop("recipe"), given, given.pop("scratch", True), presets=LINEAR_RECIPES)
    if name == FEW_LABELS and given.pop("finetune", False):
        plan = DrawPlan(**{key: given.pop(key) for key in ("ks", "shares", "draws") if key in given})
        return FinetuneOptions(given.pop("recipe", None) or "small", given, plan=plan)
    return None


def evaluate_finetuning(
    encoder: Encoder,
    target: EvaluationTarget,
    options: FinetuneOptions,
    on_progress: Progress | None = None,
) -> dict[str, Result]:
    """Train on labelled videos, beside the same network from scratch; the result is saved. Raises UnreelError."""
    videos = target.load_videos()
    notes = load_weights(encoder.backbone, options.weights) if options.weights else []
    result = train_on_labels(encoder, videos, options, on_progress)
    if options.plan is None:
        result.protocol["weights"] = str(options.weights or "the checkpoint's")
    result.warnings += notes
    results = {options.result_name: result}
    target.save(results, encoder, videos)
    return results


def train_on_labels(
    encoder: Encoder, videos: LabelledVideos, options: FinetuneOptions, on_progress: Progress | None
) -> Result:
    """The table, of all labels or over few of them."""
    recipe = options.build_recipe()
    if options.plan is not None:
        return finetune_few_labels(encoder, videos.train, videos.test, recipe, options.plan, on_progress)
    return evaluate_finetune(encoder, videos.train, videos.test, recipe, options.scratch, on_progress)


def require_one_network(num_baselines: int, num_crops: int) -> None:
    """Raises InputError for options that training on labels does not have."""
    if num_baselines or num_crops != 1:
        raise InputError(
            "--finetune and --recipe train one network: --baseline (and --num-crops with --finetune) go with cached "
            "features"
        )
