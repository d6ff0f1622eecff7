"""Videos: what is there, and videos to try things with."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from unreel.cli.arguments import LimitOptions, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.errors import InputError, unknown_name_error
from unreel.io.limits import Limits


@dataclasses.dataclass
class InspectArgs:
    """What is in a folder of videos: a manifest (Parquet), and a quarantine list with a reason for each file."""

    source: Positional[Path]
    """A folder, a text file of paths, or a CSV with path, label, group."""
    out: Path | None = None
    """Folder for manifest.parquet and quarantine.csv; by default NAME.manifest in the working directory."""
    root: Path | None = None
    """Folder that the paths of a list are relative to; by default the list's own."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def inspect_command(args: list[str]) -> int:
    given = parse_args(InspectArgs, args, "inspect")
    from unreel.corpus.inspection import inspect
    from unreel.corpus.manifest_summary import summarize_manifest

    with ProgressBar("inspecting") as advance:
        manifest = inspect(given.source, given.root, on_progress=advance, limits=given.limits)
    out = given.out or Path(f"{given.source.resolve().name}.manifest")
    manifest.save(out)
    print(summarize_manifest(manifest))
    print(f"\n  saved       {out / 'manifest.parquet'}, {out / 'quarantine.csv'}")
    return 0 if manifest.videos else 2


@dataclasses.dataclass
class CheckArgs:
    """What a labelled data set has and what it lacks: videos, lists, classes, groups on both sides."""

    data: Positional[Path]
    """Folder of the data set."""
    layout: str = "auto"
    """auto (found by the lists that are there), folders, lists, ucf101, hmdb51, kinetics, ssv2 or diving48."""
    split: int = 1
    """Which official split of UCF101 or HMDB51."""
    train: Path | None = None
    """List of training videos, instead of the data's own."""
    test: Path | None = None
    """List of test videos, instead of the data's own."""
    splits: Path | None = None
    """Folder of UCF101's or HMDB51's official split files."""


def data_command(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print("usage: unreel data check DATA [OPTIONS]    (--help after it tells the options)")
        return 0
    if args[0] != "check":
        raise unknown_name_error("command", f"data {args[0]}", ["data check"])
    given = parse_args(CheckArgs, args[1:], "data check")
    from unreel.corpus.labels.labelled_set import validate_labelled_set
    from unreel.video.sources.paths import is_packed_corpus

    if not given.data.is_dir() and not is_packed_corpus(given.data):
        what = "is a file" if given.data.exists() else "no such folder"
        raise InputError(f"{given.data}: {what}. Give the folder of a labelled data set")
    found = validate_labelled_set(**vars(given))
    print("\n".join(found.format_lines()))
    print("Whether the files decode: unreel inspect " + str(given.data))
    return 0 if found.is_valid else 2


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
    given = parse_args(SynthArgs, args, "synth")
    from unreel.corpus.synthetic_motion import make_set

    with ProgressBar("making videos") as advance:
        make_set(given.out, given.classes, given.videos, given.seed, on_progress=advance)
    print(f"{given.out}: {given.classes} classes of {given.videos} videos")
    return 0
