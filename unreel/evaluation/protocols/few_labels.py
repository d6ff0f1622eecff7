"""How far a few labels reach: accuracy over the number of labelled videos of each class.

Once with frozen features and a logistic regression, once with the whole network fine-tuned. What both share, the draws
and the curve, is in label_curve.py. Source: the label shares of the CVRL line (docs/methods.md), here per class.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.feature_extraction import ENCODER, JOINT, FeatureKey, Progress, VideoFeatures
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.leakage import collect_warnings
from unreel.evaluation.probes.grid_search import list_classes
from unreel.evaluation.probes.logistic_regression import fit_logistic_regression
from unreel.evaluation.protocols.finetune import FINETUNED_ROW, SCRATCH_ROW, finetune
from unreel.evaluation.protocols.label_sampling import (
    build_curve_result,
    count_trainings,
    measure_accuracies,
    plan_draws,
    sample_labels,
)
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import Encoder
from unreel.types import Instance

__all__ = ["classify_logistic", "evaluate_few_labels", "finetune_few_labels", "sample_labels"]

REGULARIZATION_C = 10.0


def evaluate_few_labels(
    train: VideoFeatures,
    test: VideoFeatures,
    ks: Sequence[int] = (1, 5, 10),
    shares: Sequence[float] = (),
    draws: int = 5,
    feature_keys: Sequence[FeatureKey] = (),
) -> Result:
    """Top-1 of a logistic regression on frozen features, over the number of labelled training videos.

    Rows are the encoder with all views joined and the floors; `blocks` chooses others than the pooled layer's. Features
    are standardised by all training videos, whose labels that does not need. Raises InputError.
    """
    classes, warnings = list_classes(train, test)
    named = _name_rows(train, feature_keys)
    known = [i for i in test.instances if i.label in classes]  # the others have a warning of their own
    warnings += collect_warnings(known, train.instances, ())
    scaled = {name: _standardize(train.vectors[block], test.vectors[block]) for name, block in named.items()}
    truth = np.asarray(test.labels)

    def accuracy(name: str, rows: np.ndarray, seed: int) -> float:
        train_ND, test_QD = scaled[name]
        answers = classify_logistic(train_ND[rows], [train.labels[n] for n in rows], test_QD)
        return 100.0 * float(np.mean(answers == truth))

    plan = plan_draws(ks, shares, draws)
    figures = measure_accuracies(plan, draws, train.instances, list(named), accuracy)
    protocol = {
        "classifier": f"logistic regression, L2, C={REGULARIZATION_C:g}, fixed: so few labels leave none to choose it by",
        "features": "standardised by all training videos (no labels), divided by the root of their number",
        "blocks": {name: list(block) for name, block in named.items()},
        "left_out": [
            {"list": where, "path": failure.path, "reason": str(failure)}
            for where, found in (("training", train), ("test", test))
            for failure in found.failures
        ],
    }
    result = build_curve_result(train.instances, test.instances, plan, draws, figures)
    result.protocol |= protocol
    result.caption += f"; frozen features, logistic regression with C={REGULARIZATION_C:g}, not chosen"
    result.warnings = warnings + result.warnings
    return result


def _name_rows(train: VideoFeatures, feature_keys: Sequence[FeatureKey]) -> dict[str, FeatureKey]:
    """Row names of the blocks: the encoder, all its views joined, first."""
    chosen = list(feature_keys) or list(dict.fromkeys(block for block, _ in train.list_table_rows("pooled").values()))
    if not chosen:
        raise InputError("there are no features of layer 'pooled'; ask for it when they are made, or name the blocks")
    twice = Counter(block.source for block in chosen)
    named = {}
    for block in sorted(chosen, key=lambda block: block.source != ENCODER):
        views = list(train.columns[block])
        name = block.source if block.source != ENCODER else JOINT if len(views) > 1 else views[0]
        named[name if twice[block.source] == 1 else f"{name} ({block.layer}, {block.condition})"] = block
    return named


def _standardize(train_ND: np.ndarray, test_QD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both lists by the training list's mean and deviation, divided by sqrt(D), so that C means the same for all D."""
    train_ND = train_ND.astype(np.float64)
    mean_D, std_D = train_ND.mean(axis=0), train_ND.std(axis=0)
    scale_D = np.where(std_D > 1e-8, std_D, np.inf) * np.sqrt(train_ND.shape[1])
    return (train_ND - mean_D) / scale_D, (test_QD - mean_D) / scale_D


def classify_logistic(train_ND: np.ndarray, labels: Sequence[str], test_QD: np.ndarray) -> np.ndarray:
    """Answers (Q,) of a logistic regression.

    With fewer videos than features both are turned into the span of the training videos, which holds every solution.
    """
    if len(train_ND) < train_ND.shape[1]:
        basis_DN = np.linalg.qr(train_ND.T)[0]
        train_ND, test_QD = train_ND @ basis_DN, test_QD @ basis_DN
    model = fit_logistic_regression(train_ND, labels, REGULARIZATION_C, max_iter=5000)
    return np.asarray(model.predict(test_QD))


def finetune_few_labels(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    recipe: Recipe,
    draw_plan: tuple[Sequence[int], Sequence[float], int] = ((1, 5, 10), (), 3),
    on_progress: Progress | None = None,
) -> Result:
    """Top-1 of the fine-tuned encoder and of the same network from scratch, over the labelled videos of each class.

    `plan` is labels per class, shares of the training videos, and draws of each.
    No video is held out for validation, so the last epoch is tested. `on_progress` gets (trainings done, all of them).
    """
    recipe = dataclasses.replace(recipe, select="last", validation_share=0.0)
    columns, draws = plan_draws(*draw_plan), draw_plan[2]
    done, last = 0, None

    def accuracy(name: str, rows: np.ndarray, seed: int) -> float:
        nonlocal done, last  # one trained network at a time
        drawn = dataclasses.replace(recipe, seed=recipe.seed + seed)
        last = finetune(encoder, [train[n] for n in rows], test, drawn, name == SCRATCH_ROW)
        done += 1
        if on_progress is not None:
            on_progress(done, 2 * count_trainings(columns, draws))
        return 100.0 * float(last.is_correct().mean())

    figures = measure_accuracies(columns, draws, train, [FINETUNED_ROW, SCRATCH_ROW], accuracy)
    assert last is not None  # the one with all labels
    result = build_curve_result(train, last.instances, columns, draws, figures)
    result.protocol = {**last.protocol, **result.protocol, "seed": recipe.seed}
    result.caption += f"; recipe {recipe.name}, all layers, no validation, last epoch"
    known = [i for i in last.instances if i.label in last.classes]
    result.warnings = last.warnings + collect_warnings(known, train, ()) + result.warnings
    return result
