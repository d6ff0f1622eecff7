"""Evaluations side by side, as tables and as a page."""

from collections.abc import Sequence
from pathlib import Path

from unreel.report.comparison.compare import Comparison, compare_evaluations


def compare(evaluations: Sequence[str | Path], out: str | Path | None = None, group_seeds: bool = True) -> Comparison:
    """Compare folders that `unreel evaluate all` wrote; with `out` (.html) also as a page. Raises UnreelError.

    Figures of different protocols or data never share a table. `group_seeds` makes one row of runs that differ in
    their seed alone.

    >>> comparison = compare(evaluations)
    >>> len(comparison.sections) > 0
    True
    """
    if out is not None:
        from unreel.report.pages.comparison_page import write_comparison

        write_comparison(evaluations, out, group_seeds)
    return compare_evaluations(evaluations, group_seeds)
