"""`unreel pretrain`."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from unreel.cli.arguments import argument_help, name_argument, parse_args, read_option
from unreel.cli.method_options import (
    METHOD_OPTION,
    check_length_options,
    get_run_config,
    make_args_class,
    make_method_field,
    parse_method_args,
)
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.errors import InputError
from unreel.training.run_folder.config import RunConfig
from unreel.training.run_folder.earlier_config import free_length, load_earlier_config

if TYPE_CHECKING:
    from unreel.verbs.training.pretrain import RunOutcome

SOURCE_HELP = (
    "A folder of videos, a text file of paths, or a CSV; synthetic://all for clips that are drawn while the run trains."
)
CONFIG_HELP = (
    "A run, or a .toml, .json or .yaml file with method and options: its values hold where no option here is given."
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
    steps: int | None = None
    """Train to this many steps in all, more than were asked for; says what that means for the learning rate."""


def pretrain_command(argv: list[str]) -> int:
    if any(arg.split("=")[0] == "--resume" for arg in argv):
        return resume_command(argv)
    named, earlier = check_length_options(argv), read_earlier_config(argv)
    if earlier is None:
        args = parse_method_args(build_pretrain_args, argv, "pretrain")
    else:
        args = parse_args(build_pretrain_args(earlier.method, free_length(earlier, named)), argv, "pretrain")
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


def read_earlier_config(argv: list[str]) -> RunConfig | None:
    """The configuration that --config names, None without it. Raises InputError where --method is another."""
    source = read_option(argv, "--config", "")
    if not source:
        return None
    earlier = load_earlier_config(Path(source))
    method = read_option(argv, METHOD_OPTION, earlier.method)
    if method != earlier.method:
        raise InputError(f"--config {source} is of the method {earlier.method}; leave --method {method} out")
    return earlier


def build_pretrain_args(method: str, defaults: RunConfig | None = None) -> Any:
    """The options of `unreel pretrain` for one method, with `defaults` or else its preset's values as defaults."""
    fields: list[Any] = [
        ("source", Annotated[Positional[Path], name_argument("FOLDER", SOURCE_HELP)]),
        ("out", Annotated[Path, argument_help("Folder of the run; must not exist yet.")]),
        make_method_field(method),
        ("root", Annotated[Path | None, argument_help("Folder that the paths of a list are relative to.")], None),
        ("config", Annotated[Path | None, argument_help(CONFIG_HELP)], None),
        ("quiet", Annotated[bool, argument_help("Print nothing while training.")], False),
    ]
    help_text = (
        "Train an encoder on unlabelled videos. "
        f"Defaults are those of the method '{method}'; `unreel methods` lists the others."
    )
    return make_args_class("PretrainArgs", help_text, fields, method, defaults)


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

    held_out = (run_folder / "held_out.txt").read_text(encoding="utf-8", errors="replace").strip()
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
