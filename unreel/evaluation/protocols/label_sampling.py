"""Which videos are labelled when labels are few, and the table of accuracy over the number of labels.

Labelled videos are drawn several times, as many of every class, and a smaller draw is part of a larger one, so that the
curve shows what more labels add.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unreel.errors import InputError
from unreel.evaluation.baselines.chance import CHANCE, compute_guess_rows
from unreel.evaluation.baselines.descriptions import describe_classifier_baselines
from unreel.evaluation.metrics.bootstrap import percentile_interval
from unreel.evaluation.result import Result
from unreel.io.text import format_count
from unreel.seeding import make_generator
from unreel.types import Instance

ALL_LABELS = "all"
MIN_DRAWS = 20  # for an interval: the 2.5th percentile of fewer draws is not reliable
LabelBudget = tuple[int | None, float | None]
"""Labels per class, or share of the videos of each class; neither means all."""
DrawAccuracies = dict[str, dict[str, list[float]]]
"""Row name to column to the accuracy of each draw, in percent."""


@dataclass(frozen=True)
class DrawPlan:
    """Labels per class, shares of the videos of each class, and draws of each. Raises InputError."""

    ks: Sequence[int] = (1, 5, 10)
    shares: Sequence[float] = ()
    draws: int = 5

    def __post_init__(self) -> None:
        if self.draws < 1 or not (self.ks or self.shares):
            raise InputError(
                f"few labels need 1 draw or more and a number of labels, got draws={self.draws} and {self.ks}, "
                f"{self.shares}"
            )

    @property
    def columns(self) -> dict[str, LabelBudget]:
        """Columns of the table with their budgets; all labels come last."""
        columns: dict[str, LabelBudget] = {f"{100 * share:g} %": (None, share) for share in sorted(set(self.shares))}
        columns |= {format_column(k): (k, None) for k in sorted(set(self.ks))}
        return columns | {ALL_LABELS: (None, None)}

    @property
    def num_trainings(self) -> int:
        """How often one row is trained; all labels are drawn once."""
        return sum(1 if column == ALL_LABELS else self.draws for column in self.columns)


def format_column(labels_per_class: int) -> str:
    return f"{labels_per_class} per class"


def sample_labels(
    labels: Sequence[str], groups: Sequence[str], per_class: int | None, share: float | None, seed: int
) -> np.ndarray:
    """Positions of the labelled videos, ascending int64: `per_class` of each class, or a share of it (at least 1).

    Every video of a class is equally likely to be its first; the next ones come from groups not drawn yet while there
    are any. A smaller draw of the same seed is part of a larger one. Raises InputError.
    """
    if (per_class is None) == (share is None):
        raise InputError(f"give either labels per class or a share of the videos, got {per_class} and {share}")
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
    """The videos of a class in random order: first one of each group, then a second one of each, and so on."""
    rows = [n for n, other in enumerate(labels) if other == label]
    shuffled = [rows[k] for k in make_generator(seed, 0, 0, f"labels/{label}").permutation(len(rows))]
    seen: Counter[str] = Counter()
    rank_in_group = {}
    for n in shuffled:
        group = groups[n] or f"\0{n}"
        rank_in_group[n] = seen[group]
        seen[group] += 1
    return sorted(shuffled, key=rank_in_group.__getitem__)  # stable, so random among equals


def measure_accuracies(
    plan: DrawPlan,
    train: Sequence[Instance],
    names: Sequence[str],
    measure: Callable[[str, np.ndarray, int], float],
) -> DrawAccuracies:
    """measure(row name, labelled positions, seed) of every row, column and draw; all labels have one draw."""
    labels, groups = [i.label for i in train], [i.group for i in train]
    accuracies: DrawAccuracies = {name: {} for name in names}
    for column, (k, share) in plan.columns.items():
        if column == ALL_LABELS:
            draws = [np.arange(len(train))]
        else:
            draws = [sample_labels(labels, groups, k, share, seed) for seed in range(plan.draws)]
        for name in names:
            accuracies[name][column] = [measure(name, rows, seed) for seed, rows in enumerate(draws)]
    return accuracies


def build_curve_result(
    train: Sequence[Instance], test: Sequence[Instance], plan: DrawPlan, accuracies: DrawAccuracies
) -> Result:
    """Means over draws as a table, means and deviations as a curve; intervals where there are enough draws."""
    columns, draws = plan.columns, plan.draws
    counts = Counter(i.label for i in train)
    guesses = compute_guess_rows([i.label for i in train], [i.label for i in test], {ALL_LABELS: 1})
    chance = guesses[CHANCE][ALL_LABELS]
    rows = {CHANCE: dict.fromkeys(columns, chance)}
    rows |= {name: {c: float(np.mean(v)) for c, v in row.items()} for name, row in accuracies.items()}
    x = {column: _average_labels_per_class(counts, budget) for column, budget in columns.items()}
    intervals = {
        name: {c: percentile_interval(v) for c, v in row.items() if len(v) >= MIN_DRAWS}
        for name, row in accuracies.items()
    }
    spread = (
        "2.5th to 97.5th percentile of them in brackets" if draws >= MIN_DRAWS else "± their deviation in the curve"
    )
    return Result(
        kind="few-labels",
        title="Few labels, top-1 in percent",
        rows=rows,
        caption=f"{format_count(len(test), 'test video')}, {format_count(len(train), 'training video')}, "
        f"{format_count(len(counts), 'class')}; mean over {draws} "
        f"draws of the labelled videos (one of all of them), {spread}",
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
        warnings=_warn_short_classes(counts, columns),
        extras={"curve": _build_curve_points(x, accuracies, chance), "spread": "± over draws"},
        floors=describe_classifier_baselines(rows),
    )


def _average_labels_per_class(counts: Counter[str], budget: LabelBudget) -> float:
    """Mean over the classes of the labels that a draw uses."""
    return float(np.mean([_count_labels(budget, n) for n in counts.values()]))


def _warn_short_classes(counts: Counter[str], columns: dict[str, LabelBudget]) -> list[str]:
    """A sentence for each number of labels that some class does not have."""
    warnings = []
    for column, (k, _) in columns.items():
        short = sorted(label for label, n in counts.items() if k is not None and n < k)
        if short:
            few = ", ".join(f"{label} {counts[label]}" for label in short[:5]) + (", ..." if len(short) > 5 else "")
            warnings.append(
                f"{column}: {len(short)} of {len(counts)} classes have fewer videos; all are taken ({few})."
            )
    return warnings


def _build_curve_points(x: dict[str, float], accuracies: DrawAccuracies, chance: float) -> list[dict[str, Any]]:
    """Points of all lines, each line sorted by labels per class; std is the deviation over draws, 0 for one draw."""
    columns = sorted(x, key=x.__getitem__)
    points: list[dict[str, Any]] = []
    for name, row in accuracies.items():
        for column in columns:
            std = float(np.std(row[column], ddof=1)) if len(row[column]) > 1 else 0.0
            mean = float(np.mean(row[column]))
            points.append({"row": name, "column": column, "x": x[column], "mean": mean, "std": std})
    return points + [{"row": CHANCE, "column": c, "x": x[c], "mean": chance, "std": 0.0} for c in columns]
