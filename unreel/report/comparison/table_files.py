"""A comparison as CSV, a line for each figure, and as LaTeX, a table for each section."""

import csv
import io

from unreel.report.comparison.compare import Comparison, ComparisonSection
from unreel.report.comparison.comparison_rows import ComparisonCell, ComparisonRow, format_p

CSV_HEADER = (
    *("table", "row", "figure", "mean", "deviation", "n", "low", "high"),
    *("against", "difference", "difference_low", "difference_high", "p", "p_corrected"),
)
_LATEX_ESCAPES = str.maketrans(
    {**{c: f"\\{c}" for c in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "\n": " "}
)


def format_csv(comparison: Comparison) -> str:
    """A line for each row and figure, costs too; numbers in full, empty cells for what was not measured."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, CSV_HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(list_figures(comparison))
    return lines.getvalue()


def list_figures(comparison: Comparison) -> list[dict[str, object]]:
    """A record for each row and figure, costs too, with the keys of CSV_HEADER; "" for what was not measured."""
    lines: list[list[object]] = []
    for number, section in enumerate(comparison.sections, start=1):
        for row in section.rows:
            for title, cell in row.cells.items():
                lines.append([number, row.name, title, *_list_figures(cell), *_list_test(comparison.against, cell)])
            for title, cost in row.costs.items():
                lines.append([number, row.name, title, cost, "", len(row.members), *[""] * 8])
    return [dict(zip(CSV_HEADER, line, strict=True)) for line in lines]


def _list_figures(cell: ComparisonCell) -> list[object]:
    deviation = cell.std if cell.num_runs > 1 else ""
    return [cell.figure.value, deviation, cell.num_runs, cell.figure.low, cell.figure.high]


def _list_test(against: str, cell: ComparisonCell) -> list[object]:
    if cell.difference is None:
        return [""] * 6
    paired = cell.difference.paired
    return [against, paired.difference, paired.low, paired.high, paired.p, cell.difference.corrected_p]


def format_latex(comparison: Comparison) -> str:
    r"""A tabular for each section, for \usepackage{booktabs}; figures have difference and p where a row is chosen."""
    return "\n".join(_format_section(section, comparison) for section in comparison.sections)


def _format_section(section: ComparisonSection, comparison: Comparison) -> str:
    titles = section.columns
    is_tested = {t: any(t in r.cells and r.cells[t].difference for r in section.rows) for t in titles}
    header = ["row", *(text for t in titles for text in ([t, "difference", "p"] if is_tested[t] else [t]))]
    header += section.cost_columns
    lines = [f"% {line}" for line in (section.heading or section.data_description, *comparison.list_notes(section))]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", _format_line(header), r"\midrule"]
    was_baseline = False
    for row in section.rows:
        if row.is_baseline and not was_baseline:
            lines.append(r"\midrule")
        was_baseline = row.is_baseline
        lines.append(_format_row(row, titles, is_tested, section.cost_columns))
    return "\n".join([*(line.replace("\n", " ") for line in lines), r"\bottomrule", r"\end{tabular}", ""])


def _format_line(cells: list[str]) -> str:
    return " & ".join(cell.translate(_LATEX_ESCAPES) for cell in cells) + r" \\"


def _format_row(row: ComparisonRow, titles: list[str], is_tested: dict[str, bool], costs: list[str]) -> str:
    cells = [row.name.translate(_LATEX_ESCAPES)]
    for title in titles:
        cell = row.cells.get(title)
        cells.append(_format_figure(cell) if cell else "")
        if is_tested[title]:
            cells += _format_test(cell)
    cells += [f"{row.costs[c]:,.1f}".removesuffix(".0") if c in row.costs else "" for c in costs]
    return " & ".join(cells) + r" \\"


def _format_figure(cell: ComparisonCell) -> str:
    return f"{cell.figure.value:.1f}" + (rf" $\pm$ {cell.std:.1f}" if cell.num_runs > 1 else "")


def _format_test(cell: ComparisonCell | None) -> list[str]:
    if cell is None or cell.difference is None:
        return ["", ""]
    paired, p = cell.difference.paired, format_p(cell.difference.corrected_p)
    interval = f"[${paired.low:.1f}$, ${paired.high:.1f}$]"
    return [f"${paired.difference:+.1f}$ {interval}", f"${p.removeprefix('p').removeprefix('=')}$"]
