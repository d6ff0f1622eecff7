"""Accuracy over labels: which videos are labelled, and the table of the figures.

Labelled videos are drawn several times, as many of every class, and a smaller draw is part of a larger one, so that the
curve shows what more labels add.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.baselines.trivial_baselines import CHANCE
from unreel.evaluation.feature_extraction import VideoFeatures
from unreel.evaluation.probes.grid_search import compute_guess_rows, list_baseline_descriptions
from unreel.evaluation.result import Result
from unreel.seeding import make_generator
from unreel.types import Instance

ALL_LABELS = "all"
MIN_DRAWS = 20  # fewer have no 2.5th percentile worth the name
LabelBudget = tuple[int | None, float | None]
"""Labels per class, or share of the videos of each class; neither means all."""
DrawAccuracies = dict[str, dict[str, list[float]]]
"""Row name to column to the figure of each draw, in percent."""


def sample_labels(
    labels: Sequence[str], groups: Sequence[str], per_class: int | None, share: float | None, seed: int
) -> np.ndarray:
    """Positions of the videos whose label is used, ascending int64: so many of each class, or a share but 1 at least.

    Every video of a class has the same chance to be its first; further ones come from groups not drawn yet as long as
    there are such. A smaller draw of the same seed is part of a larger one. Raises InputError.
    """
    if (per_class is None) == (share is None):
        raise InputError(f"say either labels per class or a share of the videos, got {per_class} and {share}")
    if (per_class is not None and per_class < 1) or (share is not None and not 0 < share <= 1):
        raise InputError(f"1 label per class or more, or a share above 0 and up to 1: got {per_class} and {share}")
    chosen: list[int] = []
    for label in sorted(set(labels)):
        order = _shuffle_class(labels, groups, label, seed)
        chosen += order[: _count_labels((per_class, share), len(order))]
    return np.sort(np.array(chosen, np.int64))


def _count_labels(budget: LabelBudget, count: int) -> int:
    """How many of the `count` videos of a class are drawn."""
    k, share = budget
    if share is not None:
        return max(1, int(share * count + 0.5))
    return count if k is None else min(k, count)


def _shuffle_class(labels: Sequence[str], groups: Sequence[str], label: str, seed: int) -> list[int]:
    """The videos of a class in random order, then all that are first of their group before all that are second."""
    rows = [n for n, other in enumerate(labels) if other == label]
    mixed = [rows[k] for k in make_generator(seed, 0, 0, f"labels/{label}").permutation(len(rows))]
    seen: Counter[str] = Counter()
    place = {}
    for n in mixed:
        group = groups[n] or f"\0{n}"
        place[n] = seen[group]
        seen[group] += 1
    return sorted(mixed, key=place.__getitem__)  # stable, so random among equals


def plan_draws(ks: Sequence[int], shares: Sequence[float], draws: int) -> dict[str, LabelBudget]:
    """Columns, and the draw of each; all labels come last."""
    if draws < 1 or not (ks or shares):
        raise InputError(f"few labels need 1 draw or more and a number of labels, got draws={draws} and {ks}, {shares}")
    plan: dict[str, LabelBudget] = {f"{100 * share:g} %": (None, share) for share in sorted(set(shares))}
    plan |= {f"{k} per class": (k, None) for k in sorted(set(ks))}
    return plan | {ALL_LABELS: (None, None)}


def measure_accuracies(
    plan: dict[str, LabelBudget],
    draws: int,
    train: Sequence[Instance],
    names: Sequence[str],
    accuracy: Callable[[str, np.ndarray, int], float],
) -> DrawAccuracies:
    """accuracy(row name, labelled positions, seed) of every row, column and draw; all labels have one draw."""
    labels, groups = [i.label for i in train], [i.group for i in train]
    figures: DrawAccuracies = {name: {} for name in names}
    for column, (k, share) in plan.items():
        if column == ALL_LABELS:
            chosen = [np.arange(len(train))]
        else:
            chosen = [sample_labels(labels, groups, k, share, seed) for seed in range(draws)]
        for name in names:
            figures[name][column] = [accuracy(name, rows, seed) for seed, rows in enumerate(chosen)]
    return figures


def count_trainings(plan: dict[str, LabelBudget], draws: int) -> int:
    """How often one row is trained."""
    return sum(1 if column == ALL_LABELS else draws for column in plan)


def build_curve_result(
    train: Sequence[Instance],
    test: Sequence[Instance],
    plan: dict[str, LabelBudget],
    draws: int,
    figures: DrawAccuracies,
) -> Result:
    """Means over draws as a table, means and deviations as a curve; an interval where there are draws enough for it."""
    counts = Counter(i.label for i in train)
    chance = compute_guess_rows(VideoFeatures(list(train)), VideoFeatures(list(test)), {ALL_LABELS: 1})[CHANCE][
        ALL_LABELS
    ]
    rows = {CHANCE: dict.fromkeys(plan, chance)}
    rows |= {name: {c: float(np.mean(v)) for c, v in row.items()} for name, row in figures.items()}
    x = {column: _average_labels_per_class(counts, draw) for column, draw in plan.items()}
    intervals = {
        name: {c: _compute_interval(v) for c, v in row.items() if len(v) >= MIN_DRAWS} for name, row in figures.items()
    }
    behind = (
        "2.5th to 97.5th percentile of them in brackets" if draws >= MIN_DRAWS else "± their deviation in the curve"
    )
    return Result(
        kind="few-labels",
        title="Few labels, top-1 in percent",
        rows=rows,
        caption=f"{len(test)} test videos, {len(train)} training videos, {len(counts)} classes; mean over {draws} "
        f"draws of the labelled videos (one of all of them), {behind}",
        protocol={
            "draws": draws,
            "draw": "as many of each class, of different groups first; a smaller draw is part of a larger one",
            "seeds": list(range(draws)),
            "labels_per_class": x,
            "train": len(train),
            "test": len(test),
            "classes": len(counts),
        },
        intervals={name: row for name, row in intervals.items() if row},
        warnings=_warn_short_classes(counts, plan),
        extras={"curve": _build_curve_points(x, figures, chance), "spread": "± over draws"},
        floors=list_baseline_descriptions(rows),
    )


def _average_labels_per_class(counts: Counter[str], budget: LabelBudget) -> float:
    """Mean over the classes of the labels that a draw takes."""
    return float(np.mean([_count_labels(budget, n) for n in counts.values()]))


def _compute_interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _warn_short_classes(counts: Counter[str], plan: dict[str, LabelBudget]) -> list[str]:
    """A sentence for each number of labels that some class does not have."""
    said = []
    for column, (k, _) in plan.items():
        short = sorted(label for label, n in counts.items() if k is not None and n < k)
        if short:
            few = ", ".join(f"{label} {counts[label]}" for label in short[:5]) + (", ..." if len(short) > 5 else "")
            said.append(f"{column}: {len(short)} of {len(counts)} classes have fewer videos; all are taken ({few}).")
    return said


def _build_curve_points(x: dict[str, float], figures: DrawAccuracies, chance: float) -> list[dict[str, Any]]:
    """Points of all lines, those of a line by labels per class; std is the deviation over draws, 0 for one draw."""
    columns = sorted(x, key=x.__getitem__)
    points: list[dict[str, Any]] = []
    for name, row in figures.items():
        for column in columns:
            std = float(np.std(row[column], ddof=1)) if len(row[column]) > 1 else 0.0
            mean = float(np.mean(row[column]))
            points.append({"row": name, "column": column, "x": x[column], "mean": mean, "std": std})
    return points + [{"row": CHANCE, "column": c, "x": x[c], "mean": chance, "std": 0.0} for c in columns]
