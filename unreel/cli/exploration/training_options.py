"""The options of training that `unreel explore` takes: those of `unreel pretrain`, after two dashes."""

import math

from unreel.cli.method_options import get_run_config, make_args_class, make_method_field, parse_method_args
from unreel.errors import InputError
from unreel.training.run_folder.config import RunConfig


def build_training_config(argv: list[str], minutes: float | None) -> RunConfig:
    """The method and settings of training. Raises InputError for minutes that are no length of time."""
    run_config = get_run_config(parse_method_args(build_training_args, argv, "explore FOLDER --"))
    if minutes is None:
        return run_config
    if not 0 < minutes < math.inf:
        raise InputError(f"--minutes must be above 0 and finite, got {minutes:g}")
    return run_config.replace(minutes=minutes)


def build_training_args(method: str) -> type:
    """The options of training for one method, as `unreel pretrain` has them."""
    args_class: type = make_args_class("TrainingArgs", "Options of training.", [make_method_field(method)], method)
    return args_class
