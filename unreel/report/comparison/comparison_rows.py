"""The rows of a comparison: evaluations, groups of seeds, and baselines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from unreel.evaluation.metrics.paired_test import PairedDifference
from unreel.report.comparison import comparability as likeness
from unreel.report.comparison.comparison_columns import list_columns
from unreel.report.main_figures import Figure, find_encoder_rows
from unreel.report.results_file import EvaluationSummary

BESIDE = " (beside "  # between a floor and the encoders beside which it has these figures
TOLERANCE = 1e-6  # percent; figures of one floor on the same clips are the same to rounding


@dataclass(frozen=True)
class RowDifference:
    """A row minus the one it is compared with, and its p corrected for the number of rows."""

    paired: PairedDifference
    corrected_p: float

    @property
    def text(self) -> str:
        """E.g. `+3.1 [0.4, 5.8], p=0.021`; a star where one of the two has a single run."""
        found, p = self.paired, format_p(self.corrected_p)
        interval = f"[{found.low:.1f}, {found.high:.1f}]"
        return f"{found.difference:+.1f} {interval}, {p}{'*' if found.is_about_runs else ''}"


def format_p(p: float) -> str:
    """
    >>> format_p(0.0214), format_p(1e-6)
    ('p=0.021', 'p<0.001')
    """
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"


@dataclass(frozen=True)
class ComparisonCell:
    """A figure with its interval, or the mean of n runs with their deviation."""

    figure: Figure
    num_runs: int = 1
    std: float = 0.0
    difference: RowDifference | None = None

    @property
    def spread_text(self) -> str:
        if self.num_runs > 1:
            return f"± {self.std:.1f}, n={self.num_runs}"
        low, high = self.figure.low, self.figure.high
        return "" if low is None or high is None else f"{low:.0f} to {high:.0f}"


@dataclass
class ComparisonRow:
    """A row of a table: an evaluation, a group of seeds, or a floor; `costs` has what it took, by column."""

    name: str
    description: str
    cells: dict[str, ComparisonCell]
    is_baseline: bool = False
    members: list[str] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)


@dataclass
class ComparisonEntry:
    """An evaluation, what to call it, and what its figures depend on."""

    name: str
    summary: EvaluationSummary
    signature: likeness.Signature


def build_row(group: Sequence[ComparisonEntry]) -> ComparisonRow:
    """One evaluation with its intervals, or the mean over seeds."""
    cells = {}
    for column in list_columns(entry.summary for entry in group):
        figures = [f for e in group if (f := column.get_figure(e.summary, None)) is not None]
        if len(figures) == 1:
            cells[column.title] = ComparisonCell(figures[0])
        elif figures:
            values = [f.value for f in figures]
            cells[column.title] = ComparisonCell(Figure(mean(values)), len(values), stdev(values))
    names = [e.name for e in group]
    name = names[0] if len(names) == 1 else merge_names([e.summary.run for e in group])
    members = [f"{e.name} (run {e.summary.run}, {e.summary.checkpoint})" for e in group]
    return ComparisonRow(name, group[0].summary.describe_encoder(), cells, members=members)


def build_baseline_rows(
    groups: Sequence[Sequence[ComparisonEntry]], rows: Sequence[ComparisonRow]
) -> list[ComparisonRow]:
    """Each floor once where it is equal beside all encoders, else once for each set of figures, with the encoders."""
    variants: dict[str, list[tuple[dict[str, Figure], list[str]]]] = {}
    for group, row in zip(groups, rows, strict=True):
        for entry in group:
            for name in list_baselines(entry.summary):
                columns = list_columns([entry.summary])
                figures = {c.title: f for c in columns if (f := c.get_figure(entry.summary, name)) is not None}
                known_variants = variants.setdefault(name, [])
                known, encoders = next((v for v in known_variants if have_equal_figures(v[0], figures)), ({}, []))
                if not encoders:
                    known_variants.append((known, encoders))
                known |= {title: f for title, f in figures.items() if title not in known}
                encoders += [row.name] if row.name not in encoders else []
    baseline_rows = []
    for name, known_variants in variants.items():
        for figures, encoders in known_variants:
            label = f"{name}{BESIDE}{', '.join(encoders)})" if len(known_variants) > 1 else name
            cells = {title: ComparisonCell(f) for title, f in figures.items()}
            baseline_rows.append(ComparisonRow(label, "", cells, True))
    return baseline_rows


def list_baselines(summary: EvaluationSummary) -> list[str]:
    """Rows that are not the encoder's, of all tables but the motion table, whose rows have other names."""
    tables = [r for r in summary.results.values() if r.kind != "motion"]
    return list(dict.fromkeys(n for r in tables for n in r.rows if n not in find_encoder_rows(r, summary.encoder_rows)))


def have_equal_figures(a: dict[str, Figure], b: dict[str, Figure]) -> bool:
    return all(abs(a[title].value - b[title].value) <= TOLERANCE for title in a.keys() & b.keys())


def merge_names(names: Sequence[str]) -> str:
    """One name for several that differ in numbers only: * in place of these."""
    parts = zip(*(re.split(r"(\d+)", name) for name in names), strict=True)
    return "".join(part[0] if len(set(part)) == 1 else "*" for part in parts)
