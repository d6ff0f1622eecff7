"""Whether rows of a comparison differ from a chosen one: a paired test for each figure, corrected for their number."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unreel.evaluation.metrics.paired_test import PairedDifference, compare_paired, correct_holm, find_least_p
from unreel.evaluation.result import Result
from unreel.io.text import format_count
from unreel.report.comparison.comparison_columns import ComparisonColumn, list_columns
from unreel.report.comparison.comparison_rows import ComparisonEntry, ComparisonRow, RowDifference

TEST_NOTE = (
    "Differences are paired by test video, with 95 % intervals over videos and seeds; p is two-sided and corrected for "
    "the number of rows (Holm), each column by itself. * marks rows or references of a single run: there the test says "
    "nothing of other seeds."
)
LEVEL = 0.05


def compare_with_row(
    groups: Mapping[str, Sequence[ComparisonEntry]], against: str
) -> dict[str, dict[str, RowDifference]]:
    """Row -> column -> its difference to the row `against`: one of `groups`, or a floor, as measured beside each row.

    A figure without outcomes of single videos, or of other videos, has none.
    """
    found: dict[str, dict[str, RowDifference]] = {name: {} for name in groups}
    for column in list_columns(entry.summary for group in groups.values() for entry in group):
        paired = {}
        for name, group in groups.items():
            other = groups.get(against)
            if name != against and (difference := compare_groups(column, group, other, against)) is not None:
                paired[name] = difference
        for name, p in zip(paired, correct_holm([difference.p for difference in paired.values()]), strict=True):
            found[name][column.title] = RowDifference(paired[name], p)
    return found


def explain_few_groups(rows: Iterable[ComparisonRow]) -> list[str]:
    """A sentence where the test videos come from so few groups that no difference, however large, has a small p."""
    groups: dict[str, list[int]] = {}
    for row in rows:
        for column, cell in row.cells.items():
            if cell.difference is not None:
                groups.setdefault(column, []).append(cell.difference.paired.num_groups)
    fewest, num_rows = min(((min(counts), len(counts)) for counts in groups.values()), default=(0, 0))
    least = min(1.0, num_rows * find_least_p(fewest))
    if not num_rows or least <= LEVEL:
        return []
    enough = next(n for n in itertools.count(fewest) if num_rows * find_least_p(n) <= LEVEL)
    return [
        f"The test videos come from {fewest} groups (persons, recordings; a video without one is a group of its own). "
        f"With so few and {format_count(num_rows, 'row')} to test, no p can be below {least:.2g}, however large the "
        f"difference: it says nothing here; read the intervals. A p below {LEVEL} takes {enough} groups or more."
    ]


def compare_groups(
    column: ComparisonColumn, group: Sequence[ComparisonEntry], other: Sequence[ComparisonEntry] | None, floor: str
) -> PairedDifference | None:
    """A group of seeds against another one, or against the row `floor` of its own tables where there is no other."""
    own = read_outcomes(column, group)
    theirs = read_outcomes(column, other) if other else drop_repeated(read_outcomes(column, group, floor))
    videos = [describe_videos(result) for result, _ in (*own, *theirs)]
    if not own or not theirs or any(v != videos[0] for v in videos) or len(set(videos[0])) < 2:
        return None
    groups = own[0][0].test_videos["group"]
    a_SQ, b_SQ = (np.stack([values_Q for _, values_Q in runs]) for runs in (own, theirs))
    if len({name or f"\0{n}" for n, name in enumerate(groups)}) < 2:
        return None
    return compare_paired(a_SQ, b_SQ, groups)


def read_outcomes(
    column: ComparisonColumn, group: Sequence[ComparisonEntry], row: str | None = None
) -> list[tuple[Result, np.ndarray]]:
    """The outcomes (Q,) of each run of a group, in the encoder's row or in `row`; empty where one run has none."""
    found = [column.get_outcomes(entry.summary, row) for entry in group]
    kept = [pair for pair in found if pair is not None and pair[0].test_videos]
    return kept if len(kept) == len(found) else []


def drop_repeated(runs: list[tuple[Result, np.ndarray]]) -> list[tuple[Result, np.ndarray]]:
    """One run where all are the same: a floor that has no seed."""
    return runs[:1] if all(np.array_equal(values_Q, runs[0][1]) for _, values_Q in runs) else runs


def describe_videos(result: Result) -> list[tuple[str, str]]:
    """Name and label of each test video; folders may have moved between two evaluations."""
    videos = result.test_videos
    return [(Path(path).name, label) for path, label in zip(videos["path"], videos["label"], strict=True)]
