"""What a command reads is looked at before anything heavy is imported, so that what is missing is said at once.

The library looks again, with the same sentences: this is not its only door.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unreel.errors import (
    InputError,
    UnreelError,
    no_classifier_error,
    no_concept_error,
    no_dataset_error,
    no_encoder_error,
    no_evaluation_error,
    no_index_error,
    no_run_error,
    no_sweep_error,
    no_videos_error,
    no_weights_error,
)
from unreel.models.encoder.base_encoders import list_base_encoders

PARSED_LATE = ("pretrain", "bench")  # their options are those of a method, which imports torch
_ADDRESS = re.compile("[A-Za-z][A-Za-z0-9+.-]+:")  # s3://bucket, synthetic://all, lancedb:PATH: nothing to look at here
_PIECE = ".tar#"


def _no_encoder(path: Path) -> UnreelError | None:
    known = list_base_encoders()
    return None if str(path) in known else no_encoder_error(path, known)


ERROR_BY_ARGUMENT: dict[str, Callable[[Path], UnreelError | None]] = {
    "run": _no_encoder,
    "resume": no_run_error,
    "index": no_index_error,
    "source": no_videos_error,
    "data": no_dataset_error,
    "labels": no_dataset_error,
    "classifier": no_classifier_error,
    "concept": no_concept_error,
    "evaluations": no_evaluation_error,
    "file": no_weights_error,
}
ERROR_BY_COMMAND = {
    ("report", "run"): no_run_error,
    ("sweep", "plan"): no_sweep_error,
    ("inflate", "source"): no_weights_error,
    ("data check", "data"): lambda data: no_dataset_error(data, "a labelled data set"),
}


def refuse_missing(options: Any, command: str) -> None:
    """Raise UnreelError where a file or folder that the command reads does not exist."""
    if command in PARSED_LATE:
        return
    refuse_address_as_file(getattr(options, "out", None))
    own = (argument for of, argument in ERROR_BY_COMMAND if of == command)
    for name in dict.fromkeys((*ERROR_BY_ARGUMENT, *own)):
        value = getattr(options, name, None)
        for path in value if isinstance(value, tuple) else (value,):
            require_path(path, name, command)


def refuse_address_as_file(out: Path | None) -> None:
    """Raise InputError for an output with a name like an address, which libraries would take for one."""
    if isinstance(out, Path) and not out.is_absolute() and _ADDRESS.match(str(out)):
        where = "a database goes to --to; a file or folder of such a name needs its whole path"
        raise InputError(f"{out} is written like an address, and --out is a file or folder: {where}")


def refuse_missing_words(args: Sequence[str], command: str) -> None:
    """The same for a command whose options can't be parsed without imports, as far as its words tell."""
    words = dict(zip(args, args[1:], strict=False))
    if "--resume" in words:
        require_path(words["--resume"], "resume", command)
    elif args and not args[0].startswith("-"):
        require_path(args[0], "source", command)


def require_path(path: Path | str | None, name: str, command: str) -> None:
    """Raise UnreelError where an argument of this name is a path, and nothing is there."""
    if path is None or _ADDRESS.match(str(path)) or _PIECE in str(path):
        return
    path = Path(path)
    error = ERROR_BY_COMMAND.get((command, name)) or ERROR_BY_ARGUMENT[name]
    if not path.exists() and not path.is_symlink() and (problem := error(path)):
        raise problem
