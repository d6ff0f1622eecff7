"""How far a few labels reach: accuracy over the number of labelled videos of each class.

Once with frozen features and a logistic regression, once with the whole network fine-tuned. What both share, the draws
and the curve, is in label_curve.py. Source: the label shares of the CVRL line (METHODS 3.7), here per class.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.features import JOINT, TRAINED, Block, Progress, VideoFeatures
from unreel.evaluation.finetune import FINETUNED, SCRATCH, finetune
from unreel.evaluation.label_draws import curve_result, draw_labels, figures_of, num_trainings, plan_of
from unreel.evaluation.lists import cautions
from unreel.evaluation.logistic import logistic
from unreel.evaluation.probe import known_classes
from unreel.evaluation.recipes import Recipe
from unreel.evaluation.result import Result
from unreel.models.encoder import Encoder
from unreel.types import Instance

__all__ = ["classify", "draw_labels", "evaluate_few_labels", "finetune_few"]

C = 10.0


def evaluate_few_labels(
    train: VideoFeatures,
    test: VideoFeatures,
    ks: Sequence[int] = (1, 5, 10),
    shares: Sequence[float] = (),
    draws: int = 5,
    blocks: Sequence[Block] = (),
) -> Result:
    """Top-1 of a logistic regression on frozen features, over the number of labelled training videos.

    Rows are the encoder with all views joined and the floors; `blocks` chooses others than the pooled layer's. Features
    are standardised by all training videos, whose labels that does not need. Raises InputError.
    """
    classes, warnings = known_classes(train, test)
    named = _named(train, blocks)
    known = [i for i in test.instances if i.label in classes]  # the others have a warning of their own
    warnings += cautions(known, train.instances, ())
    scaled = {name: _standardised(train.vectors[block], test.vectors[block]) for name, block in named.items()}
    truth = np.asarray(test.labels)

    def accuracy(name: str, rows: np.ndarray, seed: int) -> float:
        train_ND, test_QD = scaled[name]
        answers = classify(train_ND[rows], [train.labels[n] for n in rows], test_QD)
        return 100.0 * float(np.mean(answers == truth))

    plan = plan_of(ks, shares, draws)
    figures = figures_of(plan, draws, train.instances, list(named), accuracy)
    protocol = {
        "classifier": f"logistic regression, L2, C={C:g}, fixed: so few labels leave none to choose it by",
        "features": "standardised by all training videos (no labels), divided by the root of their number",
        "blocks": {name: list(block) for name, block in named.items()},
        "left_out": [
            {"list": where, "path": path, "reason": why}
            for where, found in (("training", train), ("test", test))
            for path, why in found.left_out
        ],
    }
    result = curve_result(train.instances, test.instances, plan, draws, figures)
    result.protocol |= protocol
    result.caption += f"; frozen features, logistic regression with C={C:g}, not chosen"
    result.warnings = warnings + result.warnings
    return result


def _named(train: VideoFeatures, blocks: Sequence[Block]) -> dict[str, Block]:
    """Row names of the blocks: the encoder, all its views joined, first."""
    chosen = list(blocks) or list(dict.fromkeys(block for block, _ in train.table_rows("pooled").values()))
    if not chosen:
        raise InputError("there are no features of layer 'pooled'; ask for it when they are made, or name the blocks")
    twice = Counter(block.who for block in chosen)
    named = {}
    for block in sorted(chosen, key=lambda block: block.who != TRAINED):
        views = list(train.columns[block])
        name = block.who if block.who != TRAINED else JOINT if len(views) > 1 else views[0]
        named[name if twice[block.who] == 1 else f"{name} ({block.layer}, {block.condition})"] = block
    return named


def _standardised(train_ND: np.ndarray, test_QD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both lists by the training list's mean and deviation, divided by sqrt(D), so that C means the same for all D."""
    train_ND = train_ND.astype(np.float64)
    mean_D, std_D = train_ND.mean(axis=0), train_ND.std(axis=0)
    scale_D = np.where(std_D > 1e-8, std_D, np.inf) * np.sqrt(train_ND.shape[1])
    return (train_ND - mean_D) / scale_D, (test_QD - mean_D) / scale_D


def classify(train_ND: np.ndarray, labels: Sequence[str], test_QD: np.ndarray) -> np.ndarray:
    """Answers (Q,) of a logistic regression.

    With fewer videos than features both are turned into the span of the training videos, which holds every solution.
    """
    if len(train_ND) < train_ND.shape[1]:
        basis_DN = np.linalg.qr(train_ND.T)[0]
        train_ND, test_QD = train_ND @ basis_DN, test_QD @ basis_DN
    model = logistic(train_ND, labels, C, steps=5000)
    return np.asarray(model.predict(test_QD))


def finetune_few(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    recipe: Recipe,
    plan: tuple[Sequence[int], Sequence[float], int] = ((1, 5, 10), (), 3),
    on_progress: Progress | None = None,
) -> Result:
    """Top-1 of the fine-tuned encoder and of the same network from scratch, over the labelled videos of each class.

    `plan` is labels per class, shares of the training videos, and draws of each.
    No video is held out for validation, so the last epoch is tested. `on_progress` gets (trainings done, all of them).
    """
    recipe = dataclasses.replace(recipe, select="last", validation_share=0.0)
    columns, draws = plan_of(*plan), plan[2]
    done, last = 0, None

    def accuracy(name: str, rows: np.ndarray, seed: int) -> float:
        nonlocal done, last  # one trained network at a time
        drawn = dataclasses.replace(recipe, seed=recipe.seed + seed)
        last = finetune(encoder, [train[n] for n in rows], test, drawn, name == SCRATCH)
        done += 1
        if on_progress is not None:
            on_progress(done, 2 * num_trainings(columns, draws))
        return 100.0 * float(last.right().mean())

    figures = figures_of(columns, draws, train, [FINETUNED, SCRATCH], accuracy)
    assert last is not None  # the one with all labels
    result = curve_result(train, last.instances, columns, draws, figures)
    result.protocol = {**last.protocol, **result.protocol, "seed": recipe.seed}
    result.caption += f"; recipe {recipe.name}, all layers, no validation, last epoch"
    known = [i for i in last.instances if i.label in last.classes]
    result.warnings = last.warnings + cautions(known, train, ()) + result.warnings
    return result
