"""The options of training that `unreel explore` takes: those of `unreel pretrain`, after two dashes."""

from unreel.cli.arguments import read_option
from unreel.cli.method_options import (
    check_length_options,
    get_run_config,
    make_args_class,
    make_method_field,
    parse_method_args,
)
from unreel.errors import InputError
from unreel.training.run_folder.config import RunConfig


def build_training_config(argv: list[str], minutes: float | None) -> RunConfig:
    """The method and settings of training. Raises InputError for values that can't be used."""
    if minutes is not None and read_option(argv, "--minutes", ""):
        raise InputError("--minutes stands before and after the two dashes; give it once")
    argv = argv if minutes is None else ["--minutes", str(minutes), *argv]
    run_config = get_run_config(parse_method_args(build_training_args, argv, "explore FOLDER --"))
    check_length_options(argv)
    return run_config


def build_training_args(method: str) -> type:
    """The options of training for one method, as `unreel pretrain` has them."""
    args_class: type = make_args_class("TrainingArgs", "Options of training.", [make_method_field(method)], method)
    return args_class
