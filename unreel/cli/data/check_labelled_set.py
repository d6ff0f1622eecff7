"""`unreel data check`: check a labelled data set for missing or inconsistent parts."""

import dataclasses
from pathlib import Path

from unreel.cli.arguments import DataArgument, parse_args
from unreel.cli.help.examples import format_examples
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.errors import InputError, unknown_name_error


@dataclasses.dataclass
class CheckArgs:
    """Report what a labelled data set has and what it lacks: videos, lists, classes, groups on both sides."""

    data: DataArgument
    """Folder of the data set."""
    layout: str = "auto"
    """auto (recognised by its lists), folders, lists, ucf101, hmdb51, kinetics, ssv2 or diving48."""
    split: int = 1
    """Number of the official split of UCF101 or HMDB51."""
    train: Path | None = None
    """List of training videos, instead of the lists in the folder."""
    test: Path | None = None
    """List of test videos, instead of the lists in the folder."""
    splits: Path | None = None
    """Folder of the official split files, if not in the data folder."""
    json: bool = False
    """Print parts, problems and notes as JSON."""
    csv: bool = False
    """Print them as CSV: kind, subject, videos, classes, fix."""


def data_command(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print("usage: unreel data check DATA [OPTIONS]    (`unreel data check --help` lists the options)")
        print(format_examples("data check"))
        return 0
    if args[0] != "check":
        raise unknown_name_error("command", f"data {args[0]}", ["data check"])
    check_args: CheckArgs = parse_args(CheckArgs, args[1:], "data check")
    refuse_json_and_csv(check_args.json, check_args.csv)
    from unreel.corpus.labels.labelled_set import validate_labelled_set
    from unreel.video.sources.paths import is_packed_corpus

    data = check_args.data
    if not data.is_dir() and not is_packed_corpus(data):
        problem = "is a file" if data.exists() else "no such folder"
        raise InputError(f"{data}: {problem}. Give the folder of a labelled data set")
    wanted = {name: value for name, value in vars(check_args).items() if name not in ("json", "csv")}
    report = validate_labelled_set(**wanted)
    if not print_records(report.list_findings(), check_args.json, check_args.csv, report.to_json()):
        print("\n".join(report.format_lines()))
        print(f"To check that the files decode: unreel inspect {data}")
    return 0 if report.is_valid else 2
