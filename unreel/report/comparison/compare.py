"""Evaluations side by side: a row for each encoder, a column for each main figure, floors below.

Figures that were not measured alike never share a column: they stand in tables of their own. Runs of one encoder and
recipe that differ in their seed alone, not in source or data, become one row: mean and standard deviation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.table import Table

from unreel.errors import InputError, unknown_name_error
from unreel.io.text import format_count
from unreel.report.comparison import comparability as likeness
from unreel.report.comparison.comparison_columns import COLUMNS_NOTE, COMPARISON_COLUMNS
from unreel.report.comparison.comparison_rows import (
    BESIDE,
    ComparisonCell,
    ComparisonEntry,
    ComparisonRow,
    build_baseline_rows,
    build_row,
)
from unreel.report.comparison.fitting_table import TextRow, build_fitting_table
from unreel.report.comparison.seed_groups import explain_commits, explain_groups, group_by_seed
from unreel.report.comparison.significance import TEST_NOTE, compare_with_row, explain_few_groups
from unreel.report.results_file import EvaluationSummary, load_summary

INTERVALS_NOTE = (
    "Intervals are 95 %, bootstrap over the test videos of one evaluation, each row by itself; that they overlap does "
    "not show that two encoders are equal, as a test on the same videos may still tell them apart. ± is the standard "
    "deviation over n runs."
)
WIDE = 10_000  # signs: everything fits
FAILED = "failed"  # the column of failed members, which is never left out
SEEDS_NOTE = "Runs that differ in their seed alone are one row, mean and deviation."


@dataclass
class ComparisonSection:
    """Evaluations that were made alike: one table."""

    heading: str
    rows: list[ComparisonRow]
    notes: list[str]
    data_description: str

    @property
    def columns(self) -> list[str]:
        titles = dict.fromkeys(title for row in self.rows for title in row.cells)
        order = [column.title for column in COMPARISON_COLUMNS]
        return sorted(titles, key=lambda title: order.index(title) if title in order else len(order))

    @property
    def cost_columns(self) -> list[str]:
        """What rows took, where it is known."""
        return list(dict.fromkeys(title for row in self.rows for title in row.costs))


@dataclass
class Comparison:
    """Tables of evaluations that were made alike, why there are several, and what holds for single evaluations.

    `against` is the row that the others are compared with, "" for none.
    """

    sections: list[ComparisonSection]
    remarks: list[str]
    contamination: list[str]
    expected_contamination: list[str] = field(default_factory=list)
    against: str = ""

    def to_tables(self, width: int = WIDE) -> list[Table]:
        """For a terminal of so many columns of signs: figures that have no room are left to the CSV."""
        return [self._build_table(part, width) for part in self.sections]

    def list_notes(self, section: ComparisonSection) -> list[str]:
        """What stands below a table; what holds for all of them stands below the last."""
        shared = [*self.remarks, *self.contamination, COLUMNS_NOTE, INTERVALS_NOTE]
        return [*section.notes, *(shared if section is self.sections[-1] else [])]

    def _build_table(self, section: ComparisonSection, width: int) -> Table:
        rows = [
            TextRow(
                row.name, {n: format_cell(cell) for n, cell in row.cells.items()} | format_costs(row), row.is_baseline
            )
            for row in section.rows
        ]
        alarms = [name for name in section.cost_columns if name == FAILED]
        columns = [*alarms, *section.columns, *(name for name in section.cost_columns if name != FAILED)]
        title, notes = section.heading or section.data_description, self.list_notes(section)
        return build_fitting_table(title, columns, rows, notes, width)


def format_cell(cell: ComparisonCell) -> str:
    """A figure, its spread, and its difference to the chosen row with p, each in a line of its own."""
    difference = "" if cell.difference is None else cell.difference.text.replace("], ", "]\n")
    return "\n".join(filter(None, (f"{cell.figure.value:.1f}", cell.spread_text, difference)))


def format_costs(row: ComparisonRow) -> dict[str, str]:
    """What a row took, by column."""
    return {name: f"{cost:,.1f}".removesuffix(".0") for name, cost in row.costs.items()}


def compare_evaluations(
    folders: Sequence[str | Path],
    group_seeds: bool = True,
    against: str = "",
    row_names: Mapping[Path, str] | None = None,
) -> Comparison:
    """Evaluations side by side; `group_seeds` makes one row of runs that differ in their seed alone.

    `against` is a row, by its name in the table, that the others are tested against. `row_names` says which folders
    make a row, by the name of the row, where the names of their runs do not.

    Raises InputError for no folder, for one given twice and for an unknown row, RunError for one that holds no
    evaluation.

    >>> comparison = compare_evaluations(evaluations)
    >>> len(comparison.sections) > 0
    True
    """
    paths = [Path(folder) for folder in folders]
    if not paths:
        raise InputError("there is nothing to compare; give the folders that `unreel evaluate all --out EVAL` wrote")
    repeated = [path for n, path in enumerate(paths) if path.resolve() in [p.resolve() for p in paths[:n]]]
    if repeated:
        raise InputError(f"{repeated[0]} is given twice; a comparison needs different evaluations")
    summaries = [load_summary(path) for path in paths]
    entries = [
        ComparisonEntry(n, s, likeness.build_signature(s)) for n, s in zip(name_folders(paths), summaries, strict=True)
    ]
    tables = group_comparable(entries)
    signatures, data = (
        [merge_signatures(table) for table in tables],
        [table[0].summary.data["name"] for table in tables],
    )
    headings = likeness.build_headings(signatures, data) if len(tables) > 1 else [""]
    names = {name: row_names[path] for name, path in zip(name_folders(paths), paths, strict=True)} if row_names else {}
    sections = [
        build_section(table, heading, group_seeds, against, names)
        for table, heading in zip(tables, headings, strict=True)
    ]
    require_row(sections, against)
    remarks = [s for s in (likeness.explain_tables(signatures), *check_versions(summaries)) if s]
    contamination = collect_contamination(entries)
    expected = {text for entry in entries for text in entry.summary.expected_warnings}
    return Comparison(
        sections,
        remarks,
        list(contamination.values()),
        [sentence for text, sentence in contamination.items() if text in expected],
        against,
    )


def require_row(sections: Sequence[ComparisonSection], against: str) -> None:
    """Raise InputError that lists the rows where none has the name `against`, be it a floor in several forms."""
    known = dict.fromkeys(row.name for section in sections for row in section.rows)
    if against and against not in known and against not in {name.partition(BESIDE)[0] for name in known}:
        raise unknown_name_error("row to compare with", against, known)


def collect_contamination(entries: Sequence[ComparisonEntry]) -> dict[str, str]:
    """Each sentence on contamination, and the same after the names of the evaluations that have it."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        for text in entry.summary.contamination:
            names.setdefault(text, []).append(entry.name)
    return {text: f"{', '.join(names[text])}: {text}" for text in names}


def name_folders(paths: Sequence[Path]) -> list[str]:
    """Names of folders, with as many parent folders as are needed to make them unique."""
    parts = [path.resolve().parts for path in paths]
    names = [p[-1] for p in parts]
    for depth in range(2, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) if names.count(n) > 1 else n for n, p in zip(names, parts, strict=True)]
    return names


def check_versions(summaries: Sequence[EvaluationSummary]) -> list[str]:
    """A remark where the evaluations come from several versions of unreel."""
    versions = sorted({s.unreel for s in summaries})
    return [f"They were made by different versions of unreel: {', '.join(versions)}."] if len(versions) > 1 else []


def group_comparable(entries: Sequence[ComparisonEntry]) -> list[list[ComparisonEntry]]:
    """Evaluations by table: each joins the first table whose members were all measured in the same way."""
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
    """What the figures of a table depend on; its members agree on what they share."""
    return {name: part for entry in table for name, part in entry.signature.items()}


def build_section(
    table: Sequence[ComparisonEntry], heading: str, group_seeds: bool, against: str, row_names: Mapping[str, str]
) -> ComparisonSection:
    groups = group_by_name(table, row_names) if row_names else group_by_seed(table)
    groups = groups if group_seeds else [[entry] for entry in table]
    rows = [build_row(group) for group in groups]
    names = [row_names[group[0].name] if row_names else find_sweep_row(group) for group in groups]
    rows = [
        replace(row, name=name if name and names.count(name) == 1 else row.name)
        for row, name in zip(rows, names, strict=True)
    ]
    rows = add_differences(rows, groups, against) if against else rows
    notes = [SEEDS_NOTE] if any(len(group) > 1 for group in groups) else []
    if group_seeds:
        notes += [*explain_groups(table), *(note for group in groups for note in explain_commits(group))]
    if against:
        notes += [f"Compared with {against}. {TEST_NOTE}", *explain_few_groups(rows)]
    clips = {entry.summary.describe_clips() for entry in table}
    if len(clips) > 1:
        notes.append(
            f"Each encoder gets clips of its own length, rate and size ({'; '.join(sorted(clips))}), and so do the "
            "floors beside it."
        )
    videos, data = table[0].summary.videos, table[0].summary.data
    test, training = format_count(videos["test"], "test video"), format_count(videos["training"], "training video")
    description = f"{data['name']}: {test}, {training}"
    return ComparisonSection(heading, rows + build_baseline_rows(groups, rows), notes, description)


def find_sweep_row(group: Sequence[ComparisonEntry]) -> str:
    """The row of a sweep that all runs of a group are members of, so that its tables and these agree; else ""."""
    rows = {entry.summary.row for entry in group}
    return rows.pop() if len(rows) == 1 else ""


def group_by_name(table: Sequence[ComparisonEntry], row_names: Mapping[str, str]) -> list[list[ComparisonEntry]]:
    """Evaluations by the row that they belong to, in the order in which these begin."""
    groups: dict[str, list[ComparisonEntry]] = {}
    for entry in table:
        groups.setdefault(row_names[entry.name], []).append(entry)
    return list(groups.values())


def add_differences(
    rows: Sequence[ComparisonRow], groups: Sequence[Sequence[ComparisonEntry]], against: str
) -> list[ComparisonRow]:
    """The rows with their differences to the row `against`."""
    found = compare_with_row({row.name: group for row, group in zip(rows, groups, strict=True)}, against)
    return [
        replace(row, cells={c: replace(cell, difference=found[row.name].get(c)) for c, cell in row.cells.items()})
        for row in rows
    ]
