"""The confusion matrix: a heat map by rows, and the most confused pairs in words."""

from dataclasses import dataclass
from typing import Any

MAX_LABELLED_CLASSES = 30  # with more classes, cells are too small for their counts
MAX_PAIRS = 10


@dataclass(frozen=True)
class ConfusionCell:
    """How many videos of the row's class were predicted as the column's (number `predicted`), and their share."""

    count: int
    share: float
    description: str
    predicted: int


@dataclass(frozen=True)
class ConfusionMatrix:
    """Rows are true classes, columns predicted ones."""

    classes: list[str]
    rows: list[list[ConfusionCell]]
    pairs: list[ConfusionCell]

    @property
    def is_small(self) -> bool:
        return len(self.classes) <= MAX_LABELLED_CLASSES


def build_confusion_matrix(data: dict[str, Any]) -> ConfusionMatrix:
    """From {"classes": names, "counts": rows of counts}. Raises ValueError when their sizes differ."""
    classes, counts = list(map(str, data["classes"])), [list(map(int, row)) for row in data["counts"]]
    if [len(counts), *map(len, counts)] != [len(classes)] * (len(classes) + 1):
        raise ValueError("the confusion matrix is not as large as its list of classes")
    rows = [[build_cell(classes, n, m, counts[n]) for m in range(len(classes))] for n in range(len(classes))]
    wrong = [c for n, row in enumerate(rows) for m, c in enumerate(row) if m != n and c.count]
    return ConfusionMatrix(classes, rows, sorted(wrong, key=lambda c: (-c.count, -c.share))[:MAX_PAIRS])


def build_cell(classes: list[str], true: int, predicted: int, row: list[int]) -> ConfusionCell:
    count, total = row[predicted], sum(row)
    share = count / total if total else 0.0
    outcome = "recognised" if true == predicted else f"predicted as {classes[predicted]}"
    description = f"{classes[true]} {outcome}: {count} of {total} ({100 * share:.0f} %)"
    return ConfusionCell(count, share, description, predicted)
