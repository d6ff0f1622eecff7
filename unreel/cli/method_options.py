"""The options of a method for `unreel pretrain` and `unreel bench`, with its preset's values as defaults."""

import dataclasses
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes

from unreel.cli.arguments import argument_help, parse_args, read_option
from unreel.methods.registry import DEFAULT_METHOD, find_methods, load_preset, name_method
from unreel.settings.optimisation import require_one_length
from unreel.training.run_folder.config import RunConfig

METHOD_OPTION = "--method"


def parse_method_args(build_args: Any, args: list[str], command: str) -> Any:
    """Parse arguments whose options depend on --method; `build_args(method)` gives their dataclass."""
    name_method(method := read_option(args, METHOD_OPTION, DEFAULT_METHOD))  # reads an own file as it is now
    return parse_args(build_args(method), args, command)


def make_args_class(
    name: str, help_text: str, fields: list[Any], method: str, defaults: RunConfig | None = None
) -> Any:
    """A dataclass of a command's own `fields`, followed by the method's options and the common settings.

    `defaults` has the values of these, in place of the preset's.
    """
    config, settings = (defaults.options, defaults.settings) if defaults else load_preset(method)
    options: Any = Annotated[type(config), OmitArgPrefixes, tyro.conf.arg(name=method)]
    common: Any = Annotated[type(settings), OmitArgPrefixes, tyro.conf.arg(name="run")]
    groups: list[Any] = [
        ("options", options, dataclasses.field(default_factory=lambda: config)),
        ("settings", common, dataclasses.field(default_factory=lambda: settings)),
    ]
    args_class = dataclasses.make_dataclass(name, fields + groups)
    args_class.__doc__ = help_text
    return args_class


def make_method_field(method: str) -> Any:
    """The field of --method, for `make_args_class`."""
    choices = f"{', '.join(find_methods())}, or your own: path/to/file.py:preset or module:preset."
    return ("method", Annotated[str, argument_help(choices)], method)


def check_length_options(args: list[str]) -> list[str]:
    """Which of --minutes, --steps and --epochs are given. Raises InputError for --minutes beside one of the others."""
    named = [name for name in ("minutes", "steps", "epochs") if read_option(args, f"--{name}", "0") != "0"]
    require_one_length(named)
    return named


def get_run_config(args: Any) -> RunConfig:
    """The method, options and settings of parsed arguments; names of code of one's own are those that a run keeps."""
    return RunConfig(name_method(args.method), args.options, args.settings).name_own_code()
