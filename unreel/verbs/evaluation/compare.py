"""Evaluations side by side, as tables and as a page."""

from collections.abc import Sequence
from pathlib import Path

from unreel.report.comparison.compare import Comparison, compare_evaluations


def compare(evaluations: Sequence[str | Path], out: str | Path | None = None, group_seeds: bool = True) -> Comparison:
    """Compare evaluations in tables; figures of different protocols or data never share a table.

    Args:
        evaluations: folders that `unreel evaluate all` wrote.
        out: file (.html) to write the comparison to as well.
        group_seeds: show runs that differ in their seed alone as one row, with mean and deviation.

    Returns:
        The comparison: one section for each table, with notes.

    Raises:
        InputError: a folder is no evaluation.
        DiskError: `out` can't be written.

    >>> comparison = unreel.compare(evaluations)
    >>> len(comparison.sections) > 0
    True
    """
    if out is not None:
        from unreel.report.pages.comparison_page import write_comparison

        write_comparison(evaluations, out, group_seeds)
    return compare_evaluations(evaluations, group_seeds)
