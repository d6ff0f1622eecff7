"""Parsing the options of a command, and writing options as they are typed."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from unreel.cli.existing_paths import refuse_missing
from unreel.cli.help.examples import format_examples
from unreel.errors import InputError
from unreel.indexing.homes.address import HOME_KINDS, get_kind
from unreel.io.limits import Limits
from unreel.models.encoder.base_encoders import is_base_encoder

LimitOptions = Annotated[Limits, OmitArgPrefixes, tyro.conf.arg(name="limits")]
"""--file-limit-s and --file-memory-mb, for a command that reads videos."""

EngineOption = Annotated[
    Literal["local", "ray"],
    tyro.conf.arg(
        help="What reads the videos: processes of this machine, or the workers of a Ray cluster (RAY_ADDRESS, else one "
        "that starts here; pip install 'unreel[ray]'). Its machines see all files at the same paths."
    ),
]


def name_argument(name: str, text: str | None = None) -> Any:
    """What an argument without a flag is called in the help, as in the overview of the commands; and its help."""
    return tyro.conf.arg(metavar=name, help=text)


MADE_BY_UNREEL = {
    "run": ("config.json", "encoder.json"),
    "index": ("store.json",),
    "classifier": ("classifier.json",),
}
"""What stands first in a command, and the files of its folder."""
BEHIND = ("source", "data", "labels", "query", "name")  # what may stand second

RunArgument = Annotated[Positional[Path], name_argument("RUN")]
FolderArgument = Annotated[Positional[Path], name_argument("FOLDER")]
DataArgument = Annotated[Positional[Path], name_argument("DATA")]
IndexArgument = Annotated[Positional[str], name_argument("INDEX")]
"""A folder, or the address of a database: a path would lose one of two slashes."""
NearestOption = Annotated[
    Literal["exact", "approximate"] | None,
    tyro.conf.arg(
        help="Compare with all rows, or search by the database's own index, which is made the first time, and whose "
        "recall is measured and shown; None is what the table was written with."
    ),
]
OutArgument = Annotated[Positional[Path], name_argument("OUT")]


def parse_args(target: Any, args: list[str], command: str) -> Any:
    """Parse the arguments of `unreel COMMAND` into the dataclass `target`; exits with usage when they do not fit.

    Help ends with examples.
    """
    try:
        options = tyro.cli(target, args=args, prog=f"unreel {command}")
    except SystemExit as end:
        if not end.code:  # after the help
            print(format_examples(command))
        raise
    refuse_swapped(options, args, command)
    refuse_missing(options, command)
    return options


def refuse_swapped(options: Any, args: list[str], command: str) -> None:
    """Raise InputError where a run, an index, a classifier or a concept stands second, and something else before it."""
    second = next(filter(None, (getattr(options, name, None) for name in BEHIND)), None)
    second = second[0] if isinstance(second, tuple) else second
    for name in (*MADE_BY_UNREEL, "concept"):
        first = getattr(options, name, None)
        if first is None or second is None or is_made(name, str(first)) or not is_made(name, str(second)):
            continue
        right = shlex.join(["unreel", *command.split(), *swap_words(args, str(first), str(second))])
        before = f"{first} is a folder of videos, and " if Path(first).is_dir() else ""
        raise InputError(f"{before}{second} is the {name}, which comes first; did you mean: {right}")


def swap_words(args: list[str], first: str, second: str) -> list[str]:
    """The arguments with two words in each other's place; values of options stay, though they may be equal to one.

    >>> swap_words(["videos/", "run", "--out", "run"], "videos", "run")
    ['run', 'videos/', '--out', 'run']
    """
    places = []
    for word in (first, second):
        found = [i for i, arg in enumerate(args) if word in (arg, str(Path(arg)))]
        places += [i for i in found if not i or not args[i - 1].startswith("--")][:1] or found[:1]
    order = list(range(len(args)))
    if len(places) == 2:
        order[places[0]], order[places[1]] = places[1], places[0]
    return [args[i] for i in order]


def is_made(name: str, text: str) -> bool:
    """Whether a word names a run, an index, a classifier or a concept of unreel, by what is there."""
    path = Path(text)
    if name == "concept":
        return path.suffix == ".json" and path.parent.name == "concepts"
    if name == "index" and ":" in text and get_kind(text.partition(":")[0]) in HOME_KINDS:
        return True
    return any((path / file).is_file() for file in MADE_BY_UNREEL[name]) or (name == "run" and is_base_encoder(path))


def argument_help(text: str) -> Any:
    return tyro.conf.arg(help=text)


def read_option(args: list[str], name: str, default: str) -> str:
    """The value of an option before the others are parsed: the method decides which options there are."""
    for i, arg in enumerate(args):
        if arg == name and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(f"{name}="):
            return arg.split("=", 1)[1]
    return default


def format_option(name: str, value: Any) -> str:
    """An option as it is typed, e.g. --batch-size 16."""
    if dataclasses.is_dataclass(value):
        return " ".join(format_option(n, v) for n, v in vars(value).items())
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    values = value if isinstance(value, tuple) else (value,)
    return " ".join([f"--{flag}", *(str(v) or "''" for v in values)])
