"""The command line: parse, call the library, print. One short function per command."""

import dataclasses
import errno
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from tyro.conf import OmitArgPrefixes, Positional

from unreel.errors import UnreelError, unknown

OVERVIEW = """unreel turns a folder of unlabelled video into an encoder, and the encoder into retrieval and embeddings.

  unreel inspect FOLDER                        what is in a folder of videos, and what can't be used
  unreel pretrain FOLDER --out RUN             train an encoder; RUN/report.html shows how it went
  unreel pretrain --resume RUN                 go on with a run that was stopped
  unreel methods                               what --method can be: idea, source, defaults
  unreel evaluate retrieval RUN DATA           nearest neighbours on labelled videos, beside floors
  unreel embed RUN FOLDER --out FILE.parquet   one vector per video or per clip, with times
  unreel report RUN                            write RUN/report.html again
  unreel inflate FILE --out ENCODER            make a video encoder of an image network's weights
  unreel synth OUT                             make a set of videos that differ by motion alone

unreel COMMAND --help tells a command's options."""

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `unreel`: errors of a person's making become one line and exit code 2."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(run_command(args))
    except UnreelError as error:
        stderr.print(f"[bold red]unreel:[/] {escape(str(error))}")
    except BrokenPipeError:  # the reader, e.g. head, has seen enough
        sys.stdout = None
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        where = error.filename or "disk"
        stderr.print(f"[bold red]unreel:[/] {escape(f'{where}: {error.strerror}')}")
    except KeyboardInterrupt:
        stderr.print("unreel: stopped")
        sys.exit(130)
    sys.exit(2)


def run_command(args: list[str]) -> int:
    """Find the command and run it; returns the exit code."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(OVERVIEW)
        return 0
    if args[0] == "--version":
        from unreel import __version__

        print(__version__)
        return 0
    if args[0] not in COMMANDS:
        raise unknown("command", args[0], COMMANDS)
    return COMMANDS[args[0]](args[1:])


def parse(target: Any, args: list[str], command: str) -> Any:
    return tyro.cli(target, args=args, prog=f"unreel {command}")


def escape(text: str) -> str:
    from rich.markup import escape as rich_escape

    return rich_escape(text)


@dataclasses.dataclass
class InspectArgs:
    """What is in a folder of videos: a manifest (Parquet), and a quarantine list with a reason for each file."""

    source: Positional[Path]
    """A folder, a text file of paths, or a CSV with path, label, group."""
    out: Path | None = None
    """Folder for manifest.parquet and quarantine.csv; by default NAME.manifest in the working directory."""
    root: Path | None = None
    """Folder that the paths of a list are relative to; by default the list's own."""


def inspect_command(args: list[str]) -> int:
    given = parse(InspectArgs, args, "inspect")
    from unreel.video.manifest import inspect, summary

    with progress("inspecting") as advance:
        manifest = inspect(given.source, given.root, on_progress=advance)
    out = given.out or Path(f"{given.source.resolve().name}.manifest")
    manifest.save(out)
    print(summary(manifest))
    print(f"\n  saved       {out / 'manifest.parquet'}, {out / 'quarantine.csv'}")
    return 0 if manifest.videos else 2


@dataclasses.dataclass
class ResumeArgs:
    """Go on with a run; everything it needs is in its folder."""

    resume: Path
    quiet: bool = False
    allow_import: bool = False
    """Import, and so run, the network or method of your own that the run names."""


def pretrain_command(args: list[str]) -> int:
    if any(a.split("=")[0] == "--resume" for a in args):
        given = parse(ResumeArgs, args, "pretrain")
        from unreel.api import resume

        return ended(given.resume, resume(given.resume, given.quiet, given.allow_import))
    from unreel.methods import DEFAULT

    given = parse(pretrain_args(option(args, "--method", DEFAULT)), args, "pretrain")
    from unreel.api import start

    with progress("inspecting") as advance:
        state = start(
            given.source, given.out, given.method, given.options, given.settings, given.root, given.quiet, advance
        )
    return ended(given.out, state)


def help_text(text: str) -> Any:
    return tyro.conf.arg(help=text)


def option(args: list[str], name: str, default: str) -> str:
    """The value of an option before the rest is parsed: the chosen method decides which options there are."""
    for i, arg in enumerate(args):
        if arg == name and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(f"{name}="):
            return arg.split("=", 1)[1]
    return default


def pretrain_args(method: str) -> Any:
    """The options of `unreel pretrain` for one method, with its preset's values as defaults."""
    from unreel.methods import find_methods, preset_of

    config, settings = preset_of(method)
    own: Any = Annotated[type(config), OmitArgPrefixes, tyro.conf.arg(name=method)]
    common: Any = Annotated[type(settings), OmitArgPrefixes, tyro.conf.arg(name="run")]
    known = f"{', '.join(find_methods())}, or package.module:preset."
    fields: list[Any] = [
        ("source", Annotated[Positional[Path], help_text("A folder of videos, a text file of paths, or a CSV.")]),
        ("out", Annotated[Path, help_text("Folder of the run; must not exist yet.")]),
        ("method", Annotated[str, help_text(known)], method),
        ("root", Annotated[Path | None, help_text("Folder that a list's paths are relative to.")], None),
        ("quiet", Annotated[bool, help_text("Print nothing while training.")], False),
        ("options", own, dataclasses.field(default_factory=lambda: config)),
        ("settings", common, dataclasses.field(default_factory=lambda: settings)),
    ]
    made = dataclasses.make_dataclass("PretrainArgs", fields)
    about = f"Defaults are those of the method '{method}'; `unreel methods` tells of the others."
    made.__doc__ = f"Train an encoder on unlabelled videos. {about}"
    return made


def ended(run: Path, state: dict[str, Any]) -> int:
    """Say where the result is, or how to go on."""
    if state["interrupted"]:
        stderr.print(escape(f"stopped at step {state['step']}, saved. Go on with: unreel pretrain --resume {run}"))
        stderr.print(escape(f"A report of what there is: unreel report {run}"))
        return 130
    print_monitors(run)
    print(f"\nreport: {run / 'report.html'}")
    return 0


def print_monitors(run: Path) -> None:
    """The label-free figures before training and at the best checkpoint, beside each other."""
    from unreel.training.monitors import before_and_best

    held_out = (run / "held_out.txt").read_text().strip()
    where = "On held-out videos" if held_out else "On the training videos (too few to hold some out)"
    table = Table(title=f"{where}, without labels", title_justify="left")
    for name in ("", "same-video R@1", "MRR", "alignment", "uniformity", "effective rank"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in before_and_best(run):
        figures = (row[n] for n in ("same_video_r1", "same_video_mrr", "alignment", "uniformity", "effective_rank"))
        table.add_row(name, *(f"{float(v):.3g}" for v in figures))
    if table.row_count:
        Console().print(table)


@dataclasses.dataclass
class RetrievalArgs:
    """Nearest neighbours in the IIC paper's protocol: test videos ask, train videos answer; floors stand beside."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    data: Positional[Path]
    """Folder of labelled videos (class folders)."""
    train: Path | None = None
    """List of gallery videos; by default DATA/train.txt."""
    test: Path | None = None
    """List of query videos; by default DATA/test.txt."""
    splits: Path | None = None
    """Folder of UCF101's or HMDB51's official split files, instead of --train and --test."""
    split: int = 1
    """Which official split."""
    num_clips: int = 10
    """Clips per video, evenly spread."""
    json: bool = False
    """Print figures and protocol as JSON to standard output."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the checkpoint names."""


def evaluate_command(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print("usage: unreel evaluate retrieval RUN DATA [OPTIONS]    (--help after it tells the options)")
        return 0
    if args[0] != "retrieval":
        raise unknown("evaluation", args[0], ["retrieval"])
    given = parse(RetrievalArgs, args[1:], "evaluate retrieval")
    from unreel.api import evaluate_retrieval

    with progress("evaluating") as advance:
        splits = None if given.splits is None else (given.splits, given.split)
        lists = (given.train, given.test, splits)
        result = evaluate_retrieval(given.run, given.data, *lists, given.num_clips, advance, given.allow_import)
    if given.json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        Console().print(result.table())
    for warning in result.warnings:
        stderr.print(escape(f"note: {warning}"))
    return 0


@dataclasses.dataclass
class EmbedArgs:
    """One unit-length vector per video or per clip, with its seconds, as Parquet."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    source: Positional[Path]
    """A video, a folder, a text file of paths, or a CSV."""
    out: Path
    """The Parquet file to write."""
    per: Literal["video", "clip"] = "video"
    """A row per video, or per clip."""
    num_clips: int = 10
    """Clips per video, evenly spread."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the checkpoint names."""


def embed_command(args: list[str]) -> int:
    given = parse(EmbedArgs, args, "embed")
    from unreel.api import embed

    with progress("embedding") as advance:
        what = (given.run, given.source, given.out, given.per, given.num_clips)
        count, failed = embed(*what, advance, given.allow_import)
    for path, reason in failed:
        stderr.print(escape(f"left out {path}: {reason}"))
    print(f"{given.out}: {count} rows" + (f", {len(failed)} files left out" if failed else ""))
    return 0


@dataclasses.dataclass
class ReportArgs:
    """Write RUN/report.html again from what the run folder holds."""

    run: Positional[Path]


def report_command(args: list[str]) -> int:
    given = parse(ReportArgs, args, "report")
    from unreel.evaluation.report import write_report
    from unreel.training.run import read_config

    read_config(given.run)
    print(write_report(given.run))
    return 0


@dataclasses.dataclass
class MethodsArgs:
    """What --method can be; with a name, the whole idea of that method and every default."""

    name: Positional[str] = ""
    """A method, to read about it."""


def methods_command(args: list[str]) -> int:
    given = parse(MethodsArgs, args, "methods")
    if given.name:
        print(describe_method(given.name))
        return 0
    from unreel.api import common_options, methods
    from unreel.models import BACKBONES

    table = Table.grid(padding=(0, 2, 1, 0))
    for card in methods():
        options = " ".join(typed(name, value) for name, value in card.options.items())
        lines = (f"{escape(card.idea)}", f"[dim]{escape(card.source)}[/]", f"[dim]{escape(options)}[/]")
        table.add_row(f"[bold]{card.name}[/]", "\n".join(line for line in lines if line != "[dim][/]"))
    Console(highlight=False).print(table)
    common = " ".join(typed(name, value) for name, value in common_options().items())
    print(f"The first is the default; unreel methods NAME tells more. Where nothing else is said: {common}.")
    print(f"Networks for --backbone: {', '.join(BACKBONES)}; X-2d for the twin of one without time.")
    return 0


def describe_method(name: str) -> str:
    """The docstrings of a method and its preset, and the preset's values."""
    import inspect as introspection

    from unreel.methods import method_module, preset_of

    values = [f"  {typed(n, v)}" for part in preset_of(name) for n, v in vars(part).items()]
    module = method_module(name)
    key = name if name in module.PRESETS else name.partition(":")[2] or next(iter(module.PRESETS))
    about = introspection.getdoc(module.PRESETS[key])
    return "\n".join([(module.__doc__ or "").strip(), "", f"{name}: {about}", "", *values])


def typed(name: str, value: Any) -> str:
    """An option as one types it."""
    if dataclasses.is_dataclass(value):
        return " ".join(typed(n, v) for n, v in vars(value).items())
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([f"--{flag}", *(str(word) or "''" for word in words)])


@dataclasses.dataclass
class InflateArgs:
    """Make a video encoder of 2D weights, each kernel repeated along time and divided by its length."""

    source: Positional[Path]
    """A file of weights (.safetensors, .pth), or a run with a network X-2d (--method simclr-frames)."""
    out: Path
    """Folder of the encoder; must not exist yet."""
    backbone: str = ""
    """The 3D network; by default the run's own X, r3d50 for a file."""
    num_frames: int = 0
    """Frames of a clip; 0 means 8 for tiny, 16 for the others."""


def inflate_command(args: list[str]) -> int:
    given = parse(InflateArgs, args, "inflate")
    from unreel.api import inflate_encoder

    encoder = inflate_encoder(given.source, given.out, given.backbone, given.num_frames)
    print(f"{given.out}: {encoder.spec.backbone}, clips of {encoder.spec.clip.num_frames} frames")
    return 0


@dataclasses.dataclass
class SynthArgs:
    """Make videos whose classes differ by motion alone, with train.txt and test.txt."""

    out: Positional[Path]
    """Folder to make."""
    classes: int = 8
    """Number of motion classes."""
    videos: int = 40
    """Videos per class."""
    seed: int = 0
    """Same seed, same videos."""


def synth_command(args: list[str]) -> int:
    given = parse(SynthArgs, args, "synth")
    from unreel.video.synth import make_set

    with progress("making videos") as advance:
        make_set(given.out, given.classes, given.videos, given.seed, on_progress=advance)
    print(f"{given.out}: {given.classes} classes of {given.videos} videos")
    return 0


class progress:
    """A bar on a terminal for `advance(done, total)` calls; nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self.bar = Progress(console=stderr, transient=True, disable=not stderr.is_terminal)
        self.task = self.bar.add_task(what, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self.bar.start()
        return self.advance

    def advance(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)
        if done >= total:
            self.bar.stop()

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "inspect": inspect_command,
    "pretrain": pretrain_command,
    "methods": methods_command,
    "evaluate": evaluate_command,
    "embed": embed_command,
    "report": report_command,
    "inflate": inflate_command,
    "synth": synth_command,
}
