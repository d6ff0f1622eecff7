"""What a sweep ends in: one table of all members that are finished, what the others failed of, files and a picture."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from rich.table import Table

from unreel.io.atomic_write import atomic_write_text
from unreel.models.encoder.checkpoint_files import read_spec
from unreel.report.comparison.compare import FAILED, WIDE, Comparison, ComparisonSection, compare_evaluations
from unreel.report.comparison.comparison_rows import ComparisonRow
from unreel.report.comparison.curve_picture import draw_row_curves
from unreel.report.comparison.table_files import format_csv, format_latex
from unreel.report.run_files import load_csv
from unreel.training.job import build_encoder_spec
from unreel.training.run_folder.checkpoint_index import find_last_checkpoint, parse_step
from unreel.training.run_folder.config import RunConfig, read_config
from unreel.verbs.sweep.member import EVALUATIONS, FAILURES, RUNS, is_finished
from unreel.verbs.sweep.plan import Member, SweepPlan

CLIPS, MINUTES = "clips", "minutes"
TABLE_CSV, TABLE_LATEX, CURVES = "table.csv", "table.tex", "curves.svg"


@dataclass
class SweepOutcome:
    """The comparison of the finished members (None before the first), the reason of each failed one, and who is left.

    Printed by `to_tables` as `unreel compare` prints; table.csv, table.tex and curves.svg of the sweep's folder have
    the same figures.
    """

    comparison: Comparison | None
    failures: dict[str, str]
    unfinished: list[str]

    def to_tables(self, width: int = WIDE) -> list[Table]:
        return self.comparison.to_tables(width) if self.comparison else []


def collect_outcome(out: Path, plan: SweepPlan) -> SweepOutcome:
    """Read what the members of a sweep have written so far. Raises RunError for damaged files."""
    finished = [member for member in plan.members if is_finished(out, member)]
    failures = {m.name: reason for m in plan.members if m not in finished and (reason := read_failure(out, m))}
    unfinished = [m.name for m in plan.members if m not in finished and m.name not in failures]
    comparison = compare_members(out, plan, finished) if finished else None
    if comparison is not None:
        comparison.sections = [add_costs(out, section, finished) for section in comparison.sections]
        add_failures(comparison, plan, finished, failures)
    return SweepOutcome(comparison, failures, unfinished)


def compare_members(out: Path, plan: SweepPlan, finished: list[Member]) -> Comparison:
    """The table of the finished members, tested against the chosen row where that has any."""
    row_names = {out / EVALUATIONS / member.name: member.row for member in finished}
    is_there = plan.against not in plan.rows or plan.against in row_names.values()
    comparison = compare_evaluations(list(row_names), True, plan.against if is_there else "", row_names)
    if not is_there:
        comparison.remarks.append(f"No member of '{plan.against}' is finished, so nothing is compared with it.")
    return comparison


def add_costs(out: Path, section: ComparisonSection, finished: list[Member]) -> ComparisonSection:
    """Clips and minutes of training of each row, the mean over its seeds."""

    def with_costs(row: ComparisonRow) -> ComparisonRow:
        runs = [out / RUNS / member.name for member in finished if member.row == row.name]
        if row.is_baseline or not runs:
            return row
        return replace(row, costs={CLIPS: mean(map(count_clips, runs)), MINUTES: mean(map(measure_minutes, runs))})

    return replace(section, rows=[with_costs(row) for row in section.rows])


def add_failures(comparison: Comparison, plan: SweepPlan, finished: list[Member], failures: dict[str, str]) -> None:
    """Count the failed members of each row in a column of its own, and say why they failed."""
    if not failures:
        return
    counts = {row: sum(m.row == row and m.name in failures for m in plan.members) for row in plan.rows}
    first, done = comparison.sections[0], {member.row for member in finished}
    lost = [ComparisonRow(row, "", {}) for row in plan.rows if row not in done and counts[row]]
    own = [row for row in first.rows if not row.is_baseline]
    first.rows = [*own, *lost, *(row for row in first.rows if row.is_baseline)]
    for section in comparison.sections:
        section.rows = [
            replace(row, costs=row.costs | {FAILED: float(counts[row.name])}) if counts.get(row.name) else row
            for row in section.rows
        ]
    comparison.remarks += [f"Failed: {name}: {reason}" for name, reason in failures.items()]


def read_failure(out: Path, member: Member) -> str:
    """The reason of a failed member, "" for one that has not failed."""
    path = out / FAILURES / f"{member.name}.txt"
    return path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""


def count_clips(run: Path) -> int:
    """Decoded clips that a run has trained on: steps x batch x clips of an instance."""
    config = RunConfig.from_json(read_config(run))
    views = build_encoder_spec(config, read_spec(find_last_checkpoint(run)).options).views
    return read_steps(run) * config.settings.batch_size * config.options.recipe(views, config.settings.seed).num_clips


def read_steps(run: Path) -> int:
    """The step of the last checkpoint."""
    return parse_step(find_last_checkpoint(run))


def measure_minutes(run: Path) -> float:
    """Minutes of the steps of a run by metrics.csv, each step once however often the run was stopped."""
    rows, seconds, before = load_csv(run / "metrics.csv"), 0.0, 0.0
    batch_size = int(read_config(run)["settings"]["batch_size"])
    for row in rows:
        seconds += (row["step"] - before) * batch_size / max(row["clips_per_s"], 1e-9)
        before = row["step"]
    return seconds / 60


def write_outcome(out: Path, plan: SweepPlan, outcome: SweepOutcome) -> None:
    """Write table.csv, table.tex and curves.svg of a sweep's folder. Raises DiskError."""
    if outcome.comparison is None:
        return
    atomic_write_text(out / TABLE_CSV, format_csv(outcome.comparison))
    atomic_write_text(out / TABLE_LATEX, format_latex(outcome.comparison))
    runs = {row: [out / RUNS / m.name for m in plan.members if m.row == row] for row in plan.rows}
    atomic_write_text(out / CURVES, draw_row_curves(runs))
