"""Parsing the options of a command, and writing options as they are typed."""

import dataclasses
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes

from unreel.io.limits import Limits

LimitOptions = Annotated[Limits, OmitArgPrefixes, tyro.conf.arg(name="limits")]
"""--file-limit-s and --file-memory-mb, for a command that reads videos."""


def parse_args(target: Any, args: list[str], command: str) -> Any:
    """Parse the arguments of `unreel COMMAND` into the dataclass `target`; exits with usage when they do not fit."""
    return tyro.cli(target, args=args, prog=f"unreel {command}")


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
