"""Classifiers on frozen features whose values (learning rate, decay, C) are chosen on held-out training videos.

No test video is used before the values are chosen and the classifier is trained.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unreel.evaluation.baselines.chance import compute_guess_intervals, compute_guess_rows
from unreel.evaluation.baselines.descriptions import describe_classifier_baselines
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
from unreel.evaluation.protocol_description import count_videos
from unreel.evaluation.result import Outcomes, Result
from unreel.evaluation.validation_split import hold_out_groups
from unreel.evaluation.video_features import FeatureKey, VideoFeatures, get_clip_vectors
from unreel.io.text import format_count

Hyperparameters = dict[str, float]
Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray, Sequence[Hyperparameters]], np.ndarray]
"""Training clips (N, V, D), their classes (N,), test clips (Q, V, D), grid of G points -> softmax (G, Q, C)."""


@dataclass
class GridSearch:
    """A kind of probe: its name, its description for the caption, how it scores, and the grid to choose from."""

    kind: str
    title: str
    description: str
    score_grid: Scorer
    grid: list[Hyperparameters]
    validation_share: float
    seed: int


def build_grid(lrs: Sequence[float], weight_decays: Sequence[float]) -> list[Hyperparameters]:
    """Every pair of a learning rate and a weight decay."""
    return [{"lr": lr, "weight_decay": decay} for lr, decay in itertools.product(lrs, weight_decays)]


def run_grid_search(
    train: VideoFeatures, test: VideoFeatures, rows: dict[str, tuple[FeatureKey, slice]], search: GridSearch
) -> Result:
    """For every row: choose values on held-out training videos, train on all of them, classify the test videos."""
    classes, warnings = list_classes(train.labels, test.labels)
    class_N, truth_Q = encode_labels(train.labels, classes), encode_labels(test.labels, classes)
    held_N = hold_out_groups(train.instances, search.validation_share, search.seed) if len(search.grid) > 1 else None
    figures = compute_guess_rows(train.labels, test.labels, TOP_KS)
    intervals = compute_guess_intervals(train.labels, test.labels, TOP_KS, test.groups)
    outcomes: dict[str, Outcomes] = {}
    chosen: dict[str, Hyperparameters] = {}
    for name, (key, columns) in rows.items():
        train_NVD, test_QVD = get_clip_vectors(train, key, columns), get_clip_vectors(test, key, columns)
        chosen[name] = choose_hyperparameters(train_NVD, class_N, held_N, search)
        score_QC = search.score_grid(train_NVD, class_N, test_QVD, [chosen[name]])[0]
        right = {column: is_in_top_k(score_QC, truth_Q, k) for column, k in TOP_KS.items()}
        figures[name], intervals[name] = summarize_row(right, right[MAIN_COLUMN], test.labels, test.groups)
        outcomes[name] = list_outcomes(right)
    warnings += _warn_about_grid(chosen, search.grid, held_N) + warn_few_classes(len(classes))
    counts = count_videos(train, test, held_N) | {"train_clips": train_NVD.shape[1], "test_clips": test_QVD.shape[1]}
    return Result(
        kind=search.kind,
        title=search.title,
        rows=figures,
        caption=_format_caption(search, counts),
        protocol={**counts, "grid": search.grid, "chosen": chosen},
        intervals=intervals,
        outcomes=outcomes,
        warnings=warnings,
        extras={"confusion": compute_confusion(score_QC, classes, test.labels)},  # of the last row: all views joined
        floors=describe_classifier_baselines(figures),
        main_column=MAIN_COLUMN,
    )


def _format_caption(search: GridSearch, counts: dict[str, Any]) -> str:
    held = f"; values chosen on {counts['held_out']} of them, whole groups at a time" if counts["held_out"] else ""
    return (
        f"{search.description}; trained on {format_count(counts['train_clips'], 'clip')} of each of "
        f"{format_count(counts['train'], 'video')} (pixel "
        f"floors: on their mean){held}; "
        f"mean softmax over {format_count(counts['test_clips'], 'view')} of each of "
        f"{format_count(counts['test'], 'test video')}, "
        f"{format_count(counts['classes'], 'class')}; per class: mean over classes of their top-1; {INTERVALS_NOTE}"
    )


def choose_hyperparameters(
    train_NVD: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None, search: GridSearch
) -> Hyperparameters:
    """The point with the best accuracy on the held-out videos; the middle of the grid where none are held out.

    Of equally accurate points the one with the lower cross-entropy, then the first.
    """
    if held_N is None:
        return choose_middle(search.grid)
    score_GQC = search.score_grid(train_NVD[~held_N], class_N[~held_N], train_NVD[held_N], search.grid)
    truth_Q = class_N[held_N]
    likely_GQ = score_GQC[:, np.arange(len(truth_Q)), truth_Q].astype(np.float64)
    log_likelihood_G = np.log(np.maximum(likely_GQ, 1e-12)).mean(axis=1)
    accuracy_G = [is_in_top_k(score_QC, truth_Q, 1).mean() for score_QC in score_GQC]
    return search.grid[max(range(len(search.grid)), key=lambda g: (accuracy_G[g], log_likelihood_G[g]))]


def choose_middle(grid: Sequence[Hyperparameters]) -> Hyperparameters:
    """The middle value of each name, the upper one of an even number."""
    values = {name: sorted({point[name] for point in grid}) for name in grid[0]}
    return {name: each[len(each) // 2] for name, each in values.items()}


def format_hyperparameters(hyperparameters: Hyperparameters) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in hyperparameters.items())


def format_not_tuned(value: str) -> str:
    """The warning for a value that could not be chosen on held-out videos."""
    return f"There are too few groups of training videos to hold some out, so {value} was fixed, not chosen."


def _warn_about_grid(
    chosen: dict[str, Hyperparameters], grid: Sequence[Hyperparameters], held_N: np.ndarray | None
) -> list[str]:
    """Sentences on values that were not chosen, or chosen at an end of the grid."""
    if len(grid) < 2:
        return []
    return (
        warn_at_borders(chosen, grid)
        if held_N is not None
        else [format_not_tuned(format_hyperparameters(choose_middle(grid)))]
    )


def warn_at_borders(chosen: dict[str, Hyperparameters], grid: Sequence[Hyperparameters]) -> list[str]:
    """A sentence for each end of the grid that was chosen, with the rows; a decay of 0 is no border."""
    sentences = []
    for name in grid[0]:
        values = sorted({point[name] for point in grid})
        for extreme, end in (("smallest", values[0]), ("largest", values[-1])):
            rows = [row for row, point in chosen.items() if point[name] == end]
            if rows and len(values) > 1 and end != 0:
                title = name.replace("_", " ")
                sentences.append(
                    f"The {extreme} {title} of the grid, {end:g}, was chosen for {', '.join(rows)}; widen the grid."
                )
    return sentences
