"""Evaluations side by side: a row for each encoder, a column for each main figure, floors below.

Figures that were not measured alike never share a column: they stand in tables of their own. Runs of one encoder and
recipe that differ in their seed alone become one row: mean and standard deviation.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.markup import escape
from rich.table import Table

from unreel.errors import InputError
from unreel.io.text import format_path
from unreel.report.baseline_comparison import Figure, find_encoder_rows
from unreel.report.comparison import comparability as likeness
from unreel.report.comparison.comparison_columns import COLUMNS_NOTE, COMPARISON_COLUMNS
from unreel.report.html_writer import write_html
from unreel.report.pages.evaluation_page import build_range, describe_encoder
from unreel.report.results_file import EXPECTED_CONTAMINATION, EvaluationSummary, load_summary

INTERVALS_NOTE = (
    "Intervals are 95 %, bootstrap over the test videos of one evaluation, each row by itself; that they overlap does "
    "not show that two encoders are equal, as a test on the same videos may still tell them apart. ± is the standard "
    "deviation over n runs."
)
SEEDS_NOTE = "Runs that differ in their seed alone are one row, mean and deviation."
TOLERANCE = 1e-6  # percent; figures of one floor on the same clips are the same to rounding


@dataclass(frozen=True)
class ComparisonCell:
    """A figure with its interval, or the mean of n runs with their deviation."""

    figure: Figure
    num_runs: int = 1
    std: float = 0.0

    @property
    def spread_text(self) -> str:
        if self.num_runs > 1:
            return f"± {self.std:.1f}, n={self.num_runs}"
        low, high = self.figure.low, self.figure.high
        return "" if low is None or high is None else f"{low:.0f} to {high:.0f}"


@dataclass
class ComparisonRow:
    """A row of a table: an evaluation, a group of seeds, or a floor."""

    name: str
    description: str
    cells: dict[str, ComparisonCell]
    is_baseline: bool = False
    members: list[str] = field(default_factory=list)


@dataclass
class ComparisonEntry:
    """An evaluation, what to call it, and what its figures depend on."""

    name: str
    summary: EvaluationSummary
    signature: likeness.Signature


@dataclass
class ComparisonSection:
    """Evaluations that were made alike: one table."""

    heading: str
    rows: list[ComparisonRow]
    notes: list[str]
    data_description: str

    @property
    def columns(self) -> list[str]:
        return [c.title for c in COMPARISON_COLUMNS if any(c.title in row.cells for row in self.rows)]


@dataclass
class Comparison:
    """Tables of evaluations that were made alike, why there are several, and what holds for single evaluations."""

    sections: list[ComparisonSection]
    remarks: list[str]
    contamination: list[str]

    def to_tables(self) -> list[Table]:
        """For the terminal."""
        return [self._build_table(part, is_last=part is self.sections[-1]) for part in self.sections]

    def _build_table(self, section: ComparisonSection, is_last: bool) -> Table:
        notes = [
            *section.notes,
            *([*self.remarks, *self.contamination, COLUMNS_NOTE, INTERVALS_NOTE] if is_last else []),
        ]
        table = Table(
            title=escape(format_path(section.heading or section.data_description)),
            caption="\n".join(escape(format_path(note)) for note in notes),
            caption_justify="left",
        )
        table.add_column("encoder")
        for name in section.columns:
            table.add_column(name, justify="right")
        for row in section.rows:
            cells = [row.cells.get(name) for name in section.columns]
            texts = [f"{c.figure.value:.1f}\n{c.spread_text}".rstrip() if c else "" for c in cells]
            table.add_row(escape(format_path(row.name)), *texts, style="dim" if row.is_baseline else "bold")
        return table


def compare_evaluations(folders: Sequence[str | Path], group_seeds: bool = True) -> Comparison:
    """Evaluations side by side; `seeds` makes one row of runs that differ in their seed alone.

    Raises InputError for no folder and for one given twice, RunError for one that holds no evaluation.

    >>> comparison = compare_evaluations(evaluations)
    >>> len(comparison.sections) > 0
    True
    """
    paths = [Path(folder) for folder in folders]
    if not paths:
        raise InputError("there is nothing to compare; give the folders that `unreel evaluate all --out EVAL` wrote")
    twice = [path for n, path in enumerate(paths) if path.resolve() in [p.resolve() for p in paths[:n]]]
    if twice:
        raise InputError(f"{twice[0]} is given twice; a comparison needs different evaluations")
    summaries = [load_summary(path) for path in paths]
    entries = [
        ComparisonEntry(n, s, likeness.build_signature(s)) for n, s in zip(name_folders(paths), summaries, strict=True)
    ]
    tables = group_comparable(entries)
    signatures, data = (
        [merge_signatures(table) for table in tables],
        [table[0].summary.data["name"] for table in tables],
    )
    heads = likeness.build_headings(signatures, data) if len(tables) > 1 else [""]
    parts = [build_section(table, head, group_seeds) for table, head in zip(tables, heads, strict=True)]
    said = [s for s in (likeness.explain_tables(signatures), *check_versions(summaries)) if s]
    return Comparison(parts, said, collect_contamination(entries))


def collect_contamination(entries: Sequence[ComparisonEntry]) -> list[str]:
    """What pre-training saw, each sentence once, with the names of the evaluations."""
    whose: dict[str, list[str]] = {}
    for entry in entries:
        for said in entry.summary.contamination:
            whose.setdefault(said, []).append(entry.name)
    return [f"{', '.join(names)}: {said}" for said, names in whose.items()]


def name_folders(paths: Sequence[Path]) -> list[str]:
    """Names of folders, with as many folders above as it takes to tell them apart."""
    whole = [path.resolve().parts for path in paths]
    names = [parts[-1] for parts in whole]
    for depth in range(2, max(map(len, whole)) + 1):
        names = ["/".join(p[-depth:]) if names.count(n) > 1 else n for n, p in zip(names, whole, strict=True)]
    return names


def check_versions(summaries: Sequence[EvaluationSummary]) -> list[str]:
    found = sorted({s.unreel for s in summaries})
    return [f"They were made by different versions of unreel: {', '.join(found)}."] if len(found) > 1 else []


def group_comparable(entries: Sequence[ComparisonEntry]) -> list[list[ComparisonEntry]]:
    """Evaluations by table: each joins the first table with whose members it was made alike."""
    tables: list[list[ComparisonEntry]] = []
    for entry in entries:
        fits = (t for t in tables if all(likeness.are_comparable(entry.signature, other.signature) for other in t))
        table = next(fits, None)
        if table is None:
            tables.append([entry])
        else:
            table.append(entry)
    return tables


def merge_signatures(table: Sequence[ComparisonEntry]) -> likeness.Signature:
    """What all of a table depends on; its members agree wherever they meet."""
    return {name: part for entry in table for name, part in entry.signature.items()}


def build_section(table: Sequence[ComparisonEntry], heading: str, group_seeds: bool) -> ComparisonSection:
    groups = group_by_seed(table) if group_seeds else [[entry] for entry in table]
    rows = [build_row(group) for group in groups]
    notes = [SEEDS_NOTE] if any(len(group) > 1 for group in groups) else []
    clips = {describe_encoder(e.summary).partition("clips of ")[2].partition(" pixels")[0] for e in table}
    if len(clips) > 1:
        notes.append(
            f"Each encoder looks at clips of its own length, rate and size ({'; '.join(sorted(clips))}), and so do "
            "the floors beside it."
        )
    videos, data = table[0].summary.videos, table[0].summary.data
    said = f"{data['name']}: {videos['test']:,} test videos, {videos['training']:,} training videos"
    return ComparisonSection(heading, rows + build_baseline_rows(groups, rows), notes, said)


def group_by_seed(table: Sequence[ComparisonEntry]) -> list[list[ComparisonEntry]]:
    """Runs of one encoder and recipe, each with a seed of its own, their names alike but for digits."""
    found: dict[tuple[str, str], list[ComparisonEntry]] = {}
    for entry in table:
        recipe = json.dumps([entry.summary.encoder, entry.summary.training], sort_keys=True)
        found.setdefault((recipe, re.sub(r"\d+", "#", entry.summary.run)), []).append(entry)
    groups = []
    for group in found.values():
        seeds = {e.summary.seed for e in group}
        groups += [group] if None not in seeds and len(seeds) == len(group) else [[entry] for entry in group]
    return groups


def build_row(group: Sequence[ComparisonEntry]) -> ComparisonRow:
    """One evaluation with its intervals, or the mean over seeds."""
    cells = {}
    for column in COMPARISON_COLUMNS:
        found = [f for e in group if (f := column.get_figure(e.summary, None)) is not None]
        if len(found) == 1:
            cells[column.title] = ComparisonCell(found[0])
        elif found:
            values = [f.value for f in found]
            cells[column.title] = ComparisonCell(Figure(mean(values)), len(values), stdev(values))
    names = [e.name for e in group]
    name = names[0] if len(names) == 1 else merge_names([e.summary.run for e in group])
    members = [f"{e.name} (run {e.summary.run}, {e.summary.checkpoint})" for e in group]
    return ComparisonRow(name, describe_encoder(group[0].summary), cells, members=members)


def merge_names(names: Sequence[str]) -> str:
    """One name for several that are alike but for digits: * where these differ."""
    parts = zip(*(re.split(r"(\d+)", name) for name in names), strict=True)
    return "".join(part[0] if len(set(part)) == 1 else "*" for part in parts)


def build_baseline_rows(
    groups: Sequence[Sequence[ComparisonEntry]], rows: Sequence[ComparisonRow]
) -> list[ComparisonRow]:
    """Each floor once where it is the same beside all encoders, else once for each set of figures, saying whose."""
    found: dict[str, list[tuple[dict[str, Figure], list[str]]]] = {}
    for group, row in zip(groups, rows, strict=True):
        for entry in group:
            for name in list_baselines(entry.summary):
                figures = {
                    c.title: f for c in COMPARISON_COLUMNS if (f := c.get_figure(entry.summary, name)) is not None
                }
                kinds = found.setdefault(name, [])
                known, whose = next((k for k in kinds if have_equal_figures(k[0], figures)), ({}, []))
                if not whose:
                    kinds.append((known, whose))
                known |= {title: f for title, f in figures.items() if title not in known}
                whose += [row.name] if row.name not in whose else []
    made = []
    for name, kinds in found.items():
        for figures, whose in kinds:
            beside = f"beside {', '.join(whose)}" if len(kinds) > 1 else ""
            label = f"{name} ({beside})" if beside else name
            made.append(ComparisonRow(label, "", {title: ComparisonCell(f) for title, f in figures.items()}, True))
    return made


def list_baselines(summary: EvaluationSummary) -> list[str]:
    """Rows that are not the encoder's, of all tables but that of motion, whose rows are named otherwise."""
    tables = [r for r in summary.results.values() if r.kind != "motion"]
    return list(dict.fromkeys(n for r in tables for n in r.rows if n not in find_encoder_rows(r, summary.encoder_rows)))


def have_equal_figures(a: dict[str, Figure], b: dict[str, Figure]) -> bool:
    return all(abs(a[title].value - b[title].value) <= TOLERANCE for title in a.keys() & b.keys())


def write_comparison(folders: Sequence[str | Path], out: str | Path, group_seeds: bool = True) -> Path:
    """Write the comparison as a page that opens anywhere. Raises InputError, RunError and DiskError."""
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{out}: the comparison is a page, so its name must end in .html")
    made = compare_evaluations(folders, group_seeds)
    parts = [
        {"part": part, "rows": [build_row_context(row, part.columns) for row in part.rows]} for part in made.sections
    ]
    usual = [said for said in made.contamination if EXPECTED_CONTAMINATION in said]
    alarms = made.remarks + [said for said in made.contamination if said not in usual]
    context = {"alarms": alarms, "usual": usual, "parts": parts, "notes": (COLUMNS_NOTE, INTERVALS_NOTE)}
    return write_html("comparison.html", context, out)


def build_row_context(row: ComparisonRow, columns: Sequence[str]) -> dict[str, Any]:
    """A row as the template shows it, each figure placed on a line from 0 to 100."""
    cells = []
    for column in columns:
        cell = row.cells.get(column)
        at = None
        if cell is not None:
            value = cell.figure.value
            spread = Figure(value, value - cell.std, value + cell.std) if cell.num_runs > 1 else cell.figure
            at = build_range(spread, not row.is_baseline, row.name)
        cells.append({"cell": cell, "mark": at})
    return {"row": row, "cells": cells}
