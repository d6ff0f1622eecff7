"""Which classes are taken for which: a heat map by rows, and the most confused pairs in words."""

from dataclasses import dataclass
from typing import Any

MOST_CELLS = 30  # classes; with more, cells are too small for their counts
PAIRS = 10


@dataclass(frozen=True)
class Cell:
    """How many videos of the row's class were taken for the column's (number `taken`), and their share of the row."""

    count: int
    share: float
    said: str
    taken: int


@dataclass(frozen=True)
class Confusion:
    """Rows are true classes, columns what they were taken for."""

    classes: list[str]
    rows: list[list[Cell]]
    pairs: list[Cell]

    @property
    def small(self) -> bool:
        return len(self.classes) <= MOST_CELLS


def confusion_view(data: dict[str, Any]) -> Confusion:
    """From {"classes": names, "counts": rows of counts}. Raises ValueError when these do not fit each other."""
    classes, counts = list(map(str, data["classes"])), [list(map(int, row)) for row in data["counts"]]
    if [len(counts), *map(len, counts)] != [len(classes)] * (len(classes) + 1):
        raise ValueError("the confusion matrix is not as large as its list of classes")
    rows = [[cell(classes, n, m, counts[n]) for m in range(len(classes))] for n in range(len(classes))]
    wrong = [c for n, row in enumerate(rows) for m, c in enumerate(row) if m != n and c.count]
    return Confusion(classes, rows, sorted(wrong, key=lambda c: (-c.count, -c.share))[:PAIRS])


def cell(classes: list[str], true: int, taken: int, row: list[int]) -> Cell:
    count, total = row[taken], sum(row)
    share = count / total if total else 0.0
    what = "recognised" if true == taken else f"taken for {classes[taken]}"
    return Cell(count, share, f"{classes[true]} {what}: {count} of {total} ({100 * share:.0f} %)", taken)
