"""`unreel pretrain`."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from unreel.cli.arguments import argument_help, name_argument, parse_args
from unreel.cli.method_options import (
    check_length_options,
    get_run_config,
    make_args_class,
    make_method_field,
    parse_method_args,
)
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, stderr_console

if TYPE_CHECKING:
    from unreel.verbs.training.pretrain import RunOutcome

SOURCE_HELP = (
    "A folder of videos, a text file of paths, or a CSV; synthetic://all for clips that are drawn while the run trains."
)
MONITOR_COLUMNS = {
    "moment": "moment",
    "order": "order",
    "far clip": "far_clip",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "effective rank": "effective_rank",
}


@dataclasses.dataclass
class ResumeArgs:
    """Go on with a run that was stopped; its folder holds everything that is needed."""

    resume: Path
    quiet: bool = False
    allow_import: bool = False
    """Import, and so execute, the network or method of your own that the run names."""
    devices: int = 0
    """Number of processes; 0 means as many as before. Ignored under torchrun or SLURM."""
    shard: Literal["as-before", "on", "off"] = "as-before"
    """Spread the weights over the processes (FSDP), or keep all of them in each."""
    step: int | None = None
    """Go on from the checkpoint of this step instead of the last one."""


def pretrain_command(argv: list[str]) -> int:
    if any(arg.split("=")[0] == "--resume" for arg in argv):
        return resume_command(argv)
    args = parse_method_args(build_pretrain_args, argv, "pretrain")
    check_length_options(argv)
    from unreel.corpus.inspection import inspect
    from unreel.verbs.training.pretrain import start_run

    with ProgressBar("inspecting") as advance:
        inspect_source = partial(inspect, root=args.root, on_progress=advance)
        outcome = start_run(args.source, args.out, get_run_config(args), inspect_source, args.quiet)
    return report_outcome(args.out, outcome)


def resume_command(argv: list[str]) -> int:
    args = parse_args(ResumeArgs, argv, "pretrain")
    from unreel.verbs.training.resume import resume

    options = {f.name: getattr(args, f.name) for f in dataclasses.fields(args) if f.name != "resume"}
    return report_outcome(args.resume, resume(args.resume, **options))


def build_pretrain_args(method: str) -> Any:
    """The options of `unreel pretrain` for one method, with its preset's values as defaults."""
    fields: list[Any] = [
        ("source", Annotated[Positional[Path], name_argument("FOLDER", SOURCE_HELP)]),
        ("out", Annotated[Path, argument_help("Folder of the run; must not exist yet.")]),
        make_method_field(method),
        ("root", Annotated[Path | None, argument_help("Folder that the paths of a list are relative to.")], None),
        ("quiet", Annotated[bool, argument_help("Print nothing while training.")], False),
    ]
    help_text = (
        "Train an encoder on unlabelled videos. "
        f"Defaults are those of the method '{method}'; `unreel methods` lists the others."
    )
    return make_args_class("PretrainArgs", help_text, fields, method)


def report_outcome(run_folder: Path, outcome: "RunOutcome") -> int:
    """Print where the result is, or how to go on; of several processes only rank 0 prints. Returns the exit code."""
    code = 130 if outcome["interrupted"] else 0
    if outcome["rank"]:
        return code
    if outcome["interrupted"]:
        resume_hint = f"stopped at step {outcome['step']}, saved. Go on with: unreel pretrain --resume {run_folder}"
        stderr_console.print(escape_markup(resume_hint))
        stderr_console.print(escape_markup(f"A report so far: unreel report {run_folder}"))
        return code
    print_monitors(run_folder)
    print_verdict(run_folder)
    print(f"\nreport: {run_folder / 'report.html'}")
    return code


def print_monitors(run_folder: Path) -> None:
    """The label-free monitors before training and at the best checkpoint, side by side."""
    from unreel.training.monitors import read_first_and_best

    held_out = (run_folder / "held_out.txt").read_text().strip()
    videos = "On held-out videos" if held_out else "On the training videos (too few to hold some out)"
    table = Table(title=f"{videos}, without labels", title_justify="left")
    for name in ("", *MONITOR_COLUMNS):
        table.add_column(name, justify="right" if name else "left")
    for name, row in read_first_and_best(run_folder):
        table.add_row(name, *(f"{float(row.get(column, 'nan')):.3g}" for column in MONITOR_COLUMNS.values()))
    if table.row_count:
        Console().print(table)


def print_verdict(run_folder: Path) -> None:
    """Does the encoder beat what needs no training? The tests without labels beside the floors, and the verdict."""
    from unreel.evaluation.verdict.verdict_file import read_verdict

    verdict = read_verdict(run_folder)
    if verdict is None:
        return
    for test, figures in verdict.list_tests().items():
        print(f"{test[0].upper()}{test[1:]} (guessing: 50 %):")
        print("  " + ", ".join(f"{source} {figure:.1f}" for source, figure in figures.items()))
    print("\n".join(filter(None, (verdict.same_video_sentence, f"\n{verdict.sentence}"))))
