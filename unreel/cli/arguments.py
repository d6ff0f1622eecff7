"""Parsing the options of a command, and writing options as they are typed."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from unreel.cli.existing_paths import refuse_missing
from unreel.cli.help.examples import format_examples
from unreel.errors import InputError
from unreel.io.limits import Limits

LimitOptions = Annotated[Limits, OmitArgPrefixes, tyro.conf.arg(name="limits")]
"""--file-limit-s and --file-memory-mb, for a command that reads videos."""


def name_argument(name: str, text: str | None = None) -> Any:
    """What an argument without a flag is called in the help, as in the overview of the commands; and its help."""
    return tyro.conf.arg(metavar=name, help=text)


MADE_BY_UNREEL = {"run": ("config.json", "encoder.json"), "index": ("store.json",)}  # what its folder has

RunArgument = Annotated[Positional[Path], name_argument("RUN")]
FolderArgument = Annotated[Positional[Path], name_argument("FOLDER")]
DataArgument = Annotated[Positional[Path], name_argument("DATA")]
IndexArgument = Annotated[Positional[str], name_argument("INDEX")]
"""A folder, or the address of a database: a path would lose one of two slashes."""
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
    refuse_swapped(options, command)
    refuse_missing(options, command)
    return options


def refuse_swapped(options: Any, command: str) -> None:
    """Raise InputError where a run or an index stands second and something else, as a folder of videos, before it."""
    for name, files in MADE_BY_UNREEL.items():
        first, others = (
            getattr(options, name, None),
            (getattr(options, other, ()) for other in ("source", "data", "query")),
        )
        second = next(filter(None, others), None)
        second = second[0] if isinstance(second, tuple) else second
        if first is None or second is None:
            continue
        if not _has_any(first, files) and _has_any(second, files):
            right = f"unreel {command} {shlex.quote(str(second))} {shlex.quote(str(first))}"
            raise InputError(f"{second} is the {name}, which comes first; did you mean: {right}")


def _has_any(folder: Any, files: tuple[str, ...]) -> bool:
    return any(Path(folder, file).is_file() for file in files)


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
