"""Evaluations side by side, as tables and as a page."""

from collections.abc import Sequence
from pathlib import Path

from unreel.io.atomic_write import atomic_write_text, disk_errors
from unreel.report.comparison.compare import Comparison, compare_evaluations
from unreel.report.comparison.table_files import format_csv, format_latex


def compare(
    evaluations: Sequence[str | Path],
    out: str | Path | None = None,
    group_seeds: bool = True,
    against: str = "",
    csv: str | Path | None = None,
    latex: str | Path | None = None,
) -> Comparison:
    """Compare evaluations in tables; figures of different protocols or data never share a table.

    Args:
        evaluations: folders that `unreel evaluate all` wrote.
        out: file (.html) to write the comparison to as well.
        group_seeds: show runs that differ in their seed alone as one row, with mean and deviation.
        against: a row by its name in the table, e.g. "frame difference"; the others get a paired test against it.
        csv: file to write every figure and test to, a line each.
        latex: file to write the tables to, for the package booktabs.

    Returns:
        The comparison: one section for each table, with notes.

    Raises:
        InputError: a folder is no evaluation, or `against` is no row.
        DiskError: `out`, `csv` or `latex` can't be written.

    >>> comparison = unreel.compare(evaluations)
    >>> len(comparison.sections) > 0
    True
    """
    if out is not None:
        from unreel.report.pages.comparison_page import write_comparison

        write_comparison(evaluations, out, group_seeds, against)
    comparison = compare_evaluations(evaluations, group_seeds, against)
    write_table_files(comparison, csv, latex)
    return comparison


def write_table_files(comparison: Comparison, csv: str | Path | None, latex: str | Path | None) -> None:
    """Write a comparison as CSV and as LaTeX, where a file is named. Raises DiskError."""
    for path, format_table in ((csv, format_csv), (latex, format_latex)):
        if path is not None:
            with disk_errors(Path(path), "the table can't be written"):
                atomic_write_text(Path(path), format_table(comparison))
