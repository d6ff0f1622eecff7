"""`unreel pretrain` and `unreel report`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import OmitArgPrefixes, Positional

from unreel.cli.terminal import ProgressBar, argument_help, escape_markup, parse_args, read_option, stderr_console


@dataclasses.dataclass
class ResumeArgs:
    """Go on with a run; everything it needs is in its folder."""

    resume: Path
    quiet: bool = False
    allow_import: bool = False
    """Import, and so run, the network or method of your own that the run names."""
    devices: int = 0
    """Processes to go on in; 0 means as many as before. torchrun and SLURM say it for themselves."""
    shard: Literal["as-before", "on", "off"] = "as-before"
    """Spread the weights over the processes (FSDP), or leave all of them in each."""
    step: int | None = None
    """Go on from the checkpoint of this step, not from the last one."""


def pretrain_command(args: list[str]) -> int:
    if any(a.split("=")[0] == "--resume" for a in args):
        given = parse_args(ResumeArgs, args, "pretrain")
        from unreel.verbs.pretrain import resume

        options = {f.name: getattr(given, f.name) for f in dataclasses.fields(given) if f.name != "resume"}
        return report_outcome(given.resume, resume(given.resume, **options))
    from unreel.methods.registry import DEFAULT_METHOD

    given = parse_args(build_pretrain_args(read_option(args, "--method", DEFAULT_METHOD)), args, "pretrain")
    from unreel.verbs.pretrain import start_run

    with ProgressBar("inspecting") as advance:
        state = start_run(
            given.source, given.out, given.method, given.options, given.settings, given.root, given.quiet, advance
        )
    return report_outcome(given.out, state)


def build_pretrain_args(method: str) -> Any:
    """The options of `unreel pretrain` for one method, with its preset's values as defaults."""
    from unreel.methods.registry import find_methods, load_preset

    config, settings = load_preset(method)
    own: Any = Annotated[type(config), OmitArgPrefixes, tyro.conf.arg(name=method)]
    common: Any = Annotated[type(settings), OmitArgPrefixes, tyro.conf.arg(name="run")]
    known = f"{', '.join(find_methods())}, or package.module:preset."
    fields: list[Any] = [
        ("source", Annotated[Positional[Path], argument_help("A folder of videos, a text file of paths, or a CSV.")]),
        ("out", Annotated[Path, argument_help("Folder of the run; must not exist yet.")]),
        ("method", Annotated[str, argument_help(known)], method),
        ("root", Annotated[Path | None, argument_help("Folder that a list's paths are relative to.")], None),
        ("quiet", Annotated[bool, argument_help("Print nothing while training.")], False),
        ("options", own, dataclasses.field(default_factory=lambda: config)),
        ("settings", common, dataclasses.field(default_factory=lambda: settings)),
    ]
    made = dataclasses.make_dataclass("PretrainArgs", fields)
    about = f"Defaults are those of the method '{method}'; `unreel methods` tells of the others."
    made.__doc__ = f"Train an encoder on unlabelled videos. {about}"
    return made


def report_outcome(run_folder: Path, outcome: dict[str, Any]) -> int:
    """Say where the result is, or how to go on; of several processes the first one says it."""
    code = 130 if outcome["interrupted"] else 0
    if outcome["rank"]:
        return code
    if outcome["interrupted"]:
        stderr_console.print(
            escape_markup(
                f"stopped at step {outcome['step']}, saved. Go on with: unreel pretrain --resume {run_folder}"
            )
        )
        stderr_console.print(escape_markup(f"A report of what there is: unreel report {run_folder}"))
        return code
    print_monitors(run_folder)
    print(f"\nreport: {run_folder / 'report.html'}")
    return code


def print_monitors(run_folder: Path) -> None:
    """The label-free figures before training and at the best checkpoint, beside each other."""
    from unreel.training.monitors import read_untrained_and_best

    held_out = (run_folder / "held_out.txt").read_text().strip()
    where = "On held-out videos" if held_out else "On the training videos (too few to hold some out)"
    table = Table(title=f"{where}, without labels", title_justify="left")
    for name in ("", "same-video R@1", "MRR", "alignment", "uniformity", "effective rank"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in read_untrained_and_best(run_folder):
        figures = (row[n] for n in ("same_video_r1", "same_video_mrr", "alignment", "uniformity", "effective_rank"))
        table.add_row(name, *(f"{float(v):.3g}" for v in figures))
    if table.row_count:
        Console().print(table)


@dataclasses.dataclass
class ReportArgs:
    """Write RUN/report.html again from what the run folder holds."""

    run: Positional[Path]


def report_command(args: list[str]) -> int:
    given = parse_args(ReportArgs, args, "report")
    from unreel.report.pages.run_page import write_report
    from unreel.training.run_folder.creation import read_config

    read_config(given.run)
    print(write_report(given.run))
    return 0
