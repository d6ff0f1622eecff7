"""What classifiers on frozen features share: classes, rows, held-out videos, figures, and values chosen from a grid.

Nothing here looks at a test video before the values are chosen and the classifier is trained.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.baselines import trivial_baselines as flooring
from unreel.evaluation.feature_extraction import ENCODER, FeatureKey, VideoFeatures
from unreel.evaluation.leakage import choose_validation_groups
from unreel.evaluation.metrics.bootstrap import bootstrap_interval
from unreel.evaluation.result import Result

MEAN_CLASS_ACCURACY, MAJORITY_CLASS = "per class", "majority class"
GUESS_DESCRIPTIONS = {
    flooring.CHANCE: "expected figure of guessing among the classes of the training videos, each as often",
    MAJORITY_CLASS: "always the most frequent class of the training videos (the next ones for a top-k above 1)",
}
INTERVALS_NOTE = "in brackets 95 % intervals, bootstrap over test videos (whole groups where they are known)"
TOP_KS = {"top-1": 1, "top-5": 5}
MetricRow = dict[str, float]
Intervals = dict[str, tuple[float, float]]
Hyperparameters = dict[str, float]
Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray, Sequence[Hyperparameters]], np.ndarray]
"""Training clips (N, V, D), their classes (N,), clips to judge (Q, V, D), grid of G points -> softmax (G, Q, C)."""


@dataclass
class GridSearch:
    """A kind of probe: what to call it, what it does (for the caption), how it scores, and the grid to choose from."""

    kind: str
    title: str
    description: str
    score_grid: Scorer
    grid: list[Hyperparameters]
    validation_share: float
    seed: int


def run_grid_search(
    train: VideoFeatures, test: VideoFeatures, rows: dict[str, tuple[FeatureKey, slice]], search: GridSearch
) -> Result:
    """Choose values on held-out training videos, train on all of them, judge the test videos; for every row."""
    classes, warnings = list_classes(train, test)
    class_N, truth_Q = encode_labels(train.labels, classes), encode_labels(test.labels, classes)
    held_N = choose_validation(train, search.validation_share, search.seed) if len(search.grid) > 1 else None
    found, intervals, chosen = (
        compute_guess_rows(train, test, TOP_KS),
        dict[str, Intervals](),
        dict[str, Hyperparameters](),
    )
    for name, (block, columns) in rows.items():
        train_NVD, test_QVD = get_clip_vectors(train, block, columns), get_clip_vectors(test, block, columns)
        chosen[name] = _choose_hyperparameters(train_NVD, class_N, held_N, search)
        score_QC = search.score_grid(train_NVD, class_N, test_QVD, [chosen[name]])[0]
        right = {column: is_in_top_k(score_QC, truth_Q, top) for column, top in TOP_KS.items()}
        found[name], intervals[name] = summarize_row(right, right["top-1"], test)
    if len(search.grid) > 1:
        warnings += (
            warn_at_borders(chosen, search.grid)
            if held_N is not None
            else [format_not_tuned(format_hyperparameters(choose_middle(search.grid)))]
        )
    if len(classes) <= TOP_KS["top-5"]:
        warnings.append(f"top-5 says nothing: there are {len(classes)} classes only.")
    counts = count_videos(train, test, held_N) | {"train_clips": train_NVD.shape[1], "test_clips": test_QVD.shape[1]}
    return Result(
        kind=search.kind,
        title=search.title,
        rows=found,
        caption=_format_caption(search, counts),
        protocol={**counts, "grid": search.grid, "chosen": chosen},
        intervals=intervals,
        warnings=warnings,
        extras={
            "confusion": compute_confusion(score_QC, classes, test.labels)
        },  # the last row: the encoder, all views joined
        floors=list_baseline_descriptions(found),
    )


def _format_caption(search: GridSearch, counts: dict[str, Any]) -> str:
    held = f"; values chosen on {counts['held_out']} of them, whole groups at a time" if counts["held_out"] else ""
    return (
        f"{search.description}; trained on {counts['train_clips']} clips of each of {counts['train']} videos (pixel floors: on "
        f"their mean){held}; "
        f"mean softmax over {counts['test_clips']} views of each of {counts['test']} test videos, "
        f"{counts['classes']} classes; per class: mean over classes of their top-1; {INTERVALS_NOTE}"
    )


def _choose_hyperparameters(
    train_NVD: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None, search: GridSearch
) -> Hyperparameters:
    """The point with the best accuracy on the held-out videos, the middle of the grid where there are none.

    Of equally accurate points the one with the lower cross-entropy, then the first.
    """
    if held_N is None:
        return choose_middle(search.grid)
    score_GQC = search.score_grid(train_NVD[~held_N], class_N[~held_N], train_NVD[held_N], search.grid)
    truth_Q = class_N[held_N]
    likely_GQ = score_GQC[:, np.arange(len(truth_Q)), truth_Q].astype(np.float64)
    fits_G = np.log(np.maximum(likely_GQ, 1e-12)).mean(axis=1)
    accuracy_G = [is_in_top_k(score_QC, truth_Q, 1).mean() for score_QC in score_GQC]
    return search.grid[max(range(len(search.grid)), key=lambda g: (accuracy_G[g], fits_G[g]))]


def get_clip_vectors(features: VideoFeatures, key: FeatureKey, columns: slice) -> np.ndarray:
    """Single clips (N, V, D) where they were kept, the mean over clips as the only one elsewhere; no copy."""
    if key in features.clip_vectors:
        return features.clip_vectors[key][:, :, columns]
    return features.vectors[key][:, None, columns]


def choose_middle(grid: Sequence[Hyperparameters]) -> Hyperparameters:
    """The middle value of each name, the upper one of an even number."""
    values = {name: sorted({point[name] for point in grid}) for name in grid[0]}
    return {name: each[len(each) // 2] for name, each in values.items()}


def format_hyperparameters(hyperparameters: Hyperparameters) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in hyperparameters.items())


def warn_at_borders(chosen: dict[str, Hyperparameters], grid: Sequence[Hyperparameters]) -> list[str]:
    """A sentence for each end of the grid that was chosen, with the rows; no decay at all is no border."""
    sentences = []
    for name in grid[0]:
        values = sorted({point[name] for point in grid})
        for word, end in (("smallest", values[0]), ("largest", values[-1])):
            rows = [row for row, point in chosen.items() if point[name] == end]
            if rows and len(values) > 1 and end != 0:
                title = name.replace("_", " ")
                sentences.append(
                    f"The {word} {title} of the grid, {end:g}, was chosen for {', '.join(rows)}; widen the grid."
                )
    return sentences


def compute_confusion(score_QC: np.ndarray, classes: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """How many test videos of each class (row) were taken for which (column), also classes that only they show."""
    names = sorted({*classes, *labels})
    taken_Q = encode_labels([classes[n] for n in score_QC.argmax(axis=1)], names)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (encode_labels(labels, names), taken_Q), 1)
    return {"classes": names, "counts": counts.tolist()}


def list_classes(train: VideoFeatures, test: VideoFeatures) -> tuple[list[str], list[str]]:
    """Classes of the training videos, sorted, and warnings; InputError when there is nothing to tell apart."""
    classes = sorted(set(train.labels))
    if len(classes) < 2 or not test.instances:
        raise InputError(
            f"a classifier needs 2 classes or more and test videos, got {len(classes)} ({', '.join(classes)}) in the "
            f"training list and {len(test.instances)} test videos; add labelled videos"
        )
    lost = [label for label in test.labels if label not in set(classes)]
    names = ", ".join(sorted(set(lost)))
    said = f"{len(lost)} test videos count as wrong: no training video shows their class ({names})."
    return classes, [said] if lost else []


def encode_labels(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Position of each label in `classes`, int64 (N,); -1 where it is none of them."""
    number = {label: n for n, label in enumerate(classes)}
    return np.array([number.get(label, -1) for label in labels], np.int64)


def find_layer_rows(train: VideoFeatures, test: VideoFeatures, layer: str) -> dict[str, tuple[FeatureKey, slice]]:
    """Rows of the table: floors, views of the encoder, all joined; InputError where the layer was not kept."""
    for name, found in (("training", train), ("test", test)):
        if FeatureKey(ENCODER, layer) not in found.vectors:
            raise InputError(f"the {name} videos have no features of layer '{layer}'; ask for it when they are made")
    return {name: row for name, row in train.list_table_rows(layer).items() if row[0] in test.vectors}


def choose_validation(train: VideoFeatures, share: float, seed: int) -> np.ndarray | None:
    """Training videos to choose values by, bool (N,), whole groups at a time; None where that can't be done."""
    held_N = choose_validation_groups(train.instances, share, seed)
    kept = {label for label, held in zip(train.labels, held_N, strict=True) if not held}
    return held_N if held_N.any() and len(kept) > 1 else None


def format_not_tuned(value: str) -> str:
    """The warning that goes with values that nothing was left to choose by."""
    return f"There are too few groups of training videos to hold some out, so {value} was fixed, not chosen."


def is_in_top_k(score_QC: np.ndarray, truth_Q: np.ndarray, k: int) -> np.ndarray:
    """Is the true class among the `top` best, bool (Q,); of equal scores the first class wins, -1 is never right."""
    best_QK = np.argsort(-score_QC, axis=1, kind="stable")[:, :k]
    return (best_QK == truth_Q[:, None]).any(axis=1)


def compute_mean_class_accuracy(is_correct_Q: np.ndarray, labels: Sequence[str]) -> float:
    """Mean over the classes of the test videos of their accuracy, in percent."""
    label_Q = np.asarray(labels)
    return 100.0 * float(np.mean([is_correct_Q[label_Q == label].mean() for label in sorted(set(labels))]))


def summarize_row(
    is_correct: dict[str, np.ndarray], main_is_correct_Q: np.ndarray, test: VideoFeatures
) -> tuple[MetricRow, Intervals]:
    """Figures of a row from which test videos are right in each column; `main_Q` is the column of `per class`."""
    row = {name: 100.0 * float(right_Q.mean()) for name, right_Q in is_correct.items()}
    intervals = {name: bootstrap_interval(100.0 * right_Q, test.groups) for name, right_Q in is_correct.items()}
    return {**row, MEAN_CLASS_ACCURACY: compute_mean_class_accuracy(main_is_correct_Q, test.labels)}, intervals


def compute_guess_rows(train: VideoFeatures, test: VideoFeatures, top_ks: dict[str, int]) -> dict[str, MetricRow]:
    """The rows that look at nothing but labels; `tops` has the k of top-k of each column."""
    counts, share = Counter(train.labels), {}
    for label in sorted(set(test.labels)):
        share[label] = 1 / len(counts) if label in counts else 0.0
    mean = float(np.mean([share[label] for label in test.labels]))
    chance = {name: 100.0 * mean * min(top, len(counts)) for name, top in top_ks.items()}
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    always = {name: 100.0 * float(np.isin(test.labels, ranked[:top]).mean()) for name, top in top_ks.items()}
    return {
        flooring.CHANCE: {**chance, MEAN_CLASS_ACCURACY: 100.0 * float(np.mean(list(share.values())))},
        MAJORITY_CLASS: {**always, MEAN_CLASS_ACCURACY: 100.0 * (ranked[0] in share) / len(share)},
    }


def list_baseline_descriptions(rows: dict[str, MetricRow]) -> dict[str, str]:
    """The rows that did not learn, with one sentence on each."""
    known = flooring.BASELINE_DESCRIPTIONS | GUESS_DESCRIPTIONS
    return {name: known[name] for name in rows if name in known}


def count_videos(train: VideoFeatures, test: VideoFeatures, held_N: np.ndarray | None) -> dict[str, Any]:
    """What a figure depends on besides the protocol's own values."""
    counts = {"train": len(train.instances), "test": len(test.instances), "classes": len(set(train.labels))}
    return {**counts, "held_out": 0 if held_N is None else int(held_N.sum())}


def protocol_to_json(protocol: Any) -> dict[str, Any]:
    """A protocol as plain JSON."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(protocol).items()}
