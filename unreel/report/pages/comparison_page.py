"""The page of `unreel compare`: evaluations side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unreel.errors import InputError
from unreel.report.comparison.compare import INTERVALS_NOTE, compare_evaluations
from unreel.report.comparison.comparison_columns import COLUMNS_NOTE
from unreel.report.comparison.comparison_rows import ComparisonRow
from unreel.report.html_writer import write_html
from unreel.report.main_figures import Figure
from unreel.report.pages.evaluation_tables import build_range


def write_comparison(
    folders: Sequence[str | Path], out: str | Path, group_seeds: bool = True, against: str = ""
) -> Path:
    """Write the comparison as a page. Raises InputError, RunError and DiskError."""
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{out}: the comparison is a page, so its name must end in .html")
    comparison = compare_evaluations(folders, group_seeds, against)
    sections = [
        {"section": section, "rows": [build_row_context(row, section.columns) for row in section.rows]}
        for section in comparison.sections
    ]
    warnings = [text for text in comparison.contamination if text not in comparison.expected_contamination]
    context = {
        "warnings": comparison.remarks + warnings,
        "expected": comparison.expected_contamination,
        "sections": sections,
        "notes": (COLUMNS_NOTE, INTERVALS_NOTE),
    }
    return write_html("comparison.html", context, out)


def build_row_context(row: ComparisonRow, columns: Sequence[str]) -> dict[str, Any]:
    """A row as the template shows it, each figure on a line from 0 to 100."""
    cells = []
    for column in columns:
        cell, mark = row.cells.get(column), None
        if cell is not None:
            value = cell.figure.value
            spread = Figure(value, value - cell.std, value + cell.std) if cell.num_runs > 1 else cell.figure
            mark = build_range(spread, not row.is_baseline, row.name)
        cells.append({"cell": cell, "mark": mark})
    return {"row": row, "cells": cells}
