"""Few labels: accuracy over the number of labelled videos of each class.

Once with frozen features and a logistic regression, once with the whole network fine-tuned; the draws of labelled
videos and the curve are in label_sampling.py. Source: evaluation with 1 % and 10 % of the labels as in Qian et al. 2021
(CVRL), here also per class.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions, FeatureProtocol
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.leakage import collect_warnings
from unreel.evaluation.metrics.accuracy import list_classes
from unreel.evaluation.probes.logistic_regression import fit_in_span, fit_standardizer
from unreel.evaluation.protocol_description import describe_failures
from unreel.evaluation.protocols.finetune import FINETUNED_ROW, SCRATCH_ROW, FinetuneOutcome, finetune
from unreel.evaluation.protocols.label_sampling import DrawPlan, build_curve_result, measure_accuracies
from unreel.evaluation.protocols.options import FewLabelsOptions
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, JOINT, FeatureKey, VideoFeatures
from unreel.models.encoder.encoder import Encoder
from unreel.types import Instance

REGULARIZATION_C, MAX_ITER = 10.0, 5000
MIN_STD = 1e-8  # features that vary less are constant


def evaluate_few_labels(
    train: VideoFeatures,
    test: VideoFeatures,
    plan: DrawPlan | None = None,
    feature_keys: Sequence[FeatureKey] = (),
) -> Result:
    """Top-1 of a logistic regression on frozen features, over the number of labelled training videos.

    Rows are the encoder with all views joined, and the baselines; `feature_keys` replaces the pooled layer's features.
    They are standardised by all training videos, which needs no labels. Raises InputError.
    """
    plan = plan or DrawPlan()
    classes, warnings = list_classes(train.labels, test.labels)
    keys = _name_rows(train, feature_keys)
    known = [i for i in test.instances if i.label in classes]  # the others have a warning of their own
    warnings += collect_warnings(known, train.instances, ())
    scaled = {name: _standardize(train.vectors[key], test.vectors[key]) for name, key in keys.items()}
    truth = np.asarray(test.labels)

    def accuracy(name: str, rows: np.ndarray, seed: int) -> float:
        train_ND, test_QD = scaled[name]
        predictions = classify_logistic(train_ND[rows], [train.labels[n] for n in rows], test_QD)
        return 100.0 * float(np.mean(predictions == truth))

    accuracies = measure_accuracies(plan, train.instances, list(keys), accuracy)
    result = build_curve_result(train.instances, test.instances, plan, accuracies)
    result.protocol |= {
        "classifier": f"logistic regression, L2, C={REGULARIZATION_C:g}, fixed: so few labels leave none to choose it "
        "by",
        "features": "standardised by all training videos (no labels), divided by the root of their number",
        "blocks": {name: list(key) for name, key in keys.items()},
        "left_out": describe_failures({"training": train.failures, "test": test.failures}),
    }
    result.caption += f"; frozen features, logistic regression with C={REGULARIZATION_C:g}, not chosen"
    result.warnings = warnings + result.warnings
    return result


def _name_rows(train: VideoFeatures, feature_keys: Sequence[FeatureKey]) -> dict[str, FeatureKey]:
    """Row names of the features; the encoder, all its views joined, comes first."""
    chosen = list(feature_keys) or list(dict.fromkeys(key for key, _ in train.list_table_rows("pooled").values()))
    if not chosen:
        raise InputError("there are no features of layer 'pooled'; ask for it when they are made, or name the blocks")
    count = Counter(key.source for key in chosen)
    rows = {}
    for key in sorted(chosen, key=lambda key: key.source != ENCODER):
        views = list(train.columns[key])
        name = key.source if key.source != ENCODER else JOINT if len(views) > 1 else views[0]
        rows[name if count[key.source] == 1 else f"{name} ({key.layer}, {key.condition})"] = key
    return rows


def _standardize(train_ND: np.ndarray, test_QD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both lists by the training list's mean and deviation, divided by sqrt(D), so that C means the same for all D."""
    standardize = fit_standardizer(train_ND.astype(np.float64), min_std=MIN_STD)
    return standardize(train_ND.astype(np.float64)), standardize(test_QD)


def classify_logistic(train_ND: np.ndarray, labels: Sequence[str], test_QD: np.ndarray) -> np.ndarray:
    """Labels (Q,) that a logistic regression predicts."""
    return fit_in_span(train_ND, labels, REGULARIZATION_C, MAX_ITER)(test_QD)


def finetune_few_labels(
    encoder: Encoder,
    train: Sequence[Instance],
    test: Sequence[Instance],
    recipe: Recipe,
    plan: DrawPlan | None = None,
    on_progress: Progress | None = None,
) -> Result:
    """Top-1 of the fine-tuned encoder and of the same network from scratch, over the labelled videos of each class.

    No video is held out for validation, so the last epoch is tested. `on_progress` gets (trainings done, total).
    """
    plan = plan or DrawPlan(draws=3)
    recipe = dataclasses.replace(recipe, select="last", validation_share=0.0)
    num_done = 0
    last: FinetuneOutcome | None = None

    def accuracy(name: str, rows: np.ndarray, seed: int) -> float:
        nonlocal num_done, last  # only one trained network is kept at a time
        seeded = dataclasses.replace(recipe, seed=recipe.seed + seed)
        last = finetune(encoder, [train[n] for n in rows], test, seeded, name == SCRATCH_ROW)
        num_done += 1
        if on_progress is not None:
            on_progress(num_done, 2 * plan.num_trainings)
        return 100.0 * float(last.is_correct().mean())

    accuracies = measure_accuracies(plan, train, [FINETUNED_ROW, SCRATCH_ROW], accuracy)
    assert last is not None  # the one with all labels
    result = build_curve_result(train, last.instances, plan, accuracies)
    result.protocol = {**last.protocol, **result.protocol, "seed": recipe.seed}
    result.caption += f"; recipe {recipe.name}, all layers, no validation, last epoch"
    result.warnings = last.warnings + collect_warnings(last.known_instances, train, ()) + result.warnings
    return result


def _build(options: FewLabelsOptions, extraction: ExtractionOptions) -> dict[str, Evaluation]:
    """On frozen features; `finetune_few_labels` is called by the verb. Raises InputError for what is of it alone."""
    names = ("recipe", "epochs", "lr", "batch_size", "drops", "warmup_epochs")
    if changed := [name for name in names if getattr(options, name) is not None]:
        raise InputError(f"--{changed[0].replace('_', '-')} is of fine-tuning; add --finetune, or leave it out")
    plan = DrawPlan(options.ks, options.shares, options.draws)
    return {"few-labels": Evaluation(lambda train, test, encoder: evaluate_few_labels(train, test, plan))}


PROTOCOL = FeatureProtocol(
    name="few-labels",
    order=5,
    summary="a linear classifier with 1, 5 and 10 labelled videos of each class",
    options=FewLabelsOptions,
    build=_build,
    in_suite=(FewLabelsOptions(),),
)
