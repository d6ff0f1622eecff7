"""`unreel sweep`: several settings over several seeds, trained, evaluated and compared in one table."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from tyro.conf import Positional

from unreel.cli.arguments import name_argument, parse_args
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.errors import InputError
from unreel.io.text import format_count, format_path

if TYPE_CHECKING:
    from unreel.verbs.sweep.outcome import SweepOutcome
    from unreel.verbs.sweep.plan import SweepPlan


@dataclasses.dataclass
class SweepArgs:
    """Train and evaluate several settings over several seeds, several at a time, and compare them in one table.

    The same command goes on after a stop: finished members are kept, begun ones resume. A file has the tables source,
    data, seeds, settings, grid, common, evaluate and against: docs/sweeps.md.
    """

    plan: Annotated[Positional[Path], name_argument("FILE")]
    """A file (.toml, .json, .yaml); the folder of a sweep, to go on with it; with --data, the videos to train on."""
    out: Path | None = None
    """Folder of the sweep: runs, evaluations, table.csv, table.tex, curves.svg."""
    data: Path | None = None
    """Labelled videos to evaluate on; the sweep then stands in the options below instead of a file."""
    root: Path | None = None
    """Folder that the paths of a list are relative to."""
    settings: tuple[str, ...] = ()
    """Rows of the table, e.g. trio 'iic intra_negatives=none' 'own.py:fast lr=0.01'."""
    grid: tuple[str, ...] = ()
    """Values to combine with each setting, e.g. lr=0.001,0.002 method=trio,iic."""
    common: tuple[str, ...] = ()
    """Options of every member, e.g. steps=600 batch_size=16."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of every setting."""
    evaluate: tuple[str, ...] = ("retrieval",)
    """Protocols, e.g. retrieval retrieval-iic knn; all is every one on frozen features."""
    num_clips: int = 10
    """Evenly spread clips per video in the evaluation."""
    floors: bool = True
    """Show pixels, colours, frame difference and the untrained network as further rows."""
    against: str = ""
    """A row that the others get a paired test against, by its name in the table."""
    jobs: int = 1
    """Members at a time, each in a process of its own, and on a GPU of its own where there are several."""
    latex: Path | None = None
    """Also write the tables to this file."""
    json: bool = False
    """Print every figure and test as JSON in place of the tables."""
    csv: bool = False
    """Print them as CSV, a line each, which is OUT/table.csv."""
    slurm: Path | None = None
    """Run nothing; write a script for `sbatch` that runs the members as an array."""
    show: bool = False
    """Run nothing; print the table of what is finished."""
    member: int | None = None
    """Run one member of the sweep in the folder, by its number from 0, and nothing else."""


def sweep_command(argv: list[str]) -> int:
    args = parse_args(SweepArgs, argv, "sweep")
    refuse_json_and_csv(args.json, args.csv)
    if args.member is not None:
        return run_one(args.plan, args.member)
    from unreel.verbs.sweep.launching import launch_none, launch_processes
    from unreel.verbs.sweep.sweep import prepare_sweep, run_sweep

    given = build_tables(args) if args.data else args.plan
    out, plan = prepare_sweep(given, args.out, args.jobs)
    if args.slurm:
        return write_slurm_script(args.slurm, out, args.jobs)

    launch = launch_none if args.show else partial(launch_processes, on_start=partial(say_start, out, plan))
    outcome = run_sweep(out, plan, args.jobs, None, args.latex, partial(say_end, out), launch)
    is_printed = print_outcome(outcome, args.json, args.csv)
    for name, reason in outcome.failures.items():
        stderr_console.print(escape_markup(format_path(f"failed: {name}: {reason}")))
    if outcome.unfinished:
        stderr_console.print(escape_markup(f"not finished: {', '.join(outcome.unfinished)}"))
    if not is_printed:
        print(f"table: {out / 'table.csv'}, {out / 'table.tex'}\ncurves: {out / 'curves.svg'}")
    return 1 if outcome.failures or outcome.unfinished else 0


def say_start(out: Path, plan: "SweepPlan", number: int) -> None:
    """A line of its own on standard error, so that a sweep is heard of without a terminal too."""
    from unreel.verbs.sweep.member import LOGS

    name = plan.members[number].name
    stderr_console.print(escape_markup(format_path(f"begins: {name}, see {out / LOGS / name}.log")))


def say_end(out: Path, name: str, done: int, total: int) -> None:
    """A line for a member that has ended: finished, failed, or ended without a word."""
    from unreel.verbs.sweep.member import FAILURES

    end = "failed" if (out / FAILURES / f"{name}.txt").exists() else "done"
    stderr_console.print(escape_markup(f"{done} of {total} {end}: {name}"))


def print_outcome(outcome: "SweepOutcome", as_json: bool, as_csv: bool) -> bool:
    """The tables of a sweep, or their figures as JSON or CSV (True); none where no member is finished."""
    from unreel.report.comparison.table_files import list_figures

    if print_records(list_figures(outcome.comparison) if outcome.comparison else [], as_json, as_csv):
        return True
    console = Console()
    for table in outcome.to_tables(console.width):
        console.print(table)
    return False


def build_tables(args: SweepArgs) -> dict[str, Any]:
    """The tables of a sweep's file from options."""
    from unreel.verbs.sweep.typed_options import parse_grid, parse_options, parse_setting

    same = {"source": str(args.plan), "data": str(args.data), "num_clips": args.num_clips, "floors": args.floors}
    same |= {"against": args.against, "evaluate": list(args.evaluate), "seeds": list(args.seeds)}
    same |= {"root": str(args.root)} if args.root else {}
    settings = [parse_setting(text) for text in args.settings]
    return same | {"common": parse_options(args.common), "grid": parse_grid(args.grid), "settings": settings}


def run_one(out: Path, number: int) -> int:
    """Run one member; what it fails of is in OUT/failures."""
    from unreel.verbs.sweep.ending import end_with_sweep

    end_with_sweep()
    from unreel.verbs.sweep.member import run_member
    from unreel.verbs.sweep.sweep import read_plan

    plan = read_plan(out)
    if not 0 <= number < len(plan.members):
        raise InputError(f"{out}: the sweep has the members 0 to {len(plan.members) - 1}, got {number}")
    return 0 if run_member(out, plan, plan.members[number]) else 1


def write_slurm_script(path: Path, out: Path, jobs: int) -> int:
    """Write the script of an array of jobs, and say how to use it."""
    import torch

    from unreel.io.atomic_write import atomic_write_text, disk_errors
    from unreel.verbs.sweep.member import LOGS
    from unreel.verbs.sweep.slurm import format_slurm_script
    from unreel.verbs.sweep.sweep import read_plan

    plan = read_plan(out)
    with disk_errors(path, "the script can't be written"):
        (out / LOGS).mkdir(exist_ok=True)
        script = format_slurm_script(out, len(plan.members), jobs, plan.threads, torch.cuda.is_available())
        atomic_write_text(path, script)
    print(
        f"{path} runs {format_count(len(plan.members), 'member')}: sbatch {path}, and when they are done: "
        f"unreel sweep {out} --show"
    )
    return 0
