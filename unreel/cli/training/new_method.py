"""`unreel new-method`."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from unreel.cli.arguments import name_argument, parse_args


@dataclasses.dataclass
class NewMethodArgs:
    """Write the file of a new method, which trains as it is, and its test."""

    name: Annotated[Positional[str], name_argument("NAME")]
    """What the method is called: its file, and its preset."""
    out: Path = Path()
    """Folder to write NAME.py and test_NAME.py into."""


def new_method_command(argv: list[str]) -> int:
    args = parse_args(NewMethodArgs, argv, "new-method")
    from unreel.verbs.training.new_method import new_method

    method, test = new_method(args.name, args.out)
    print(f"{method}: train with it: unreel pretrain FOLDER --out RUN --method {method}:{args.name}")
    print(f"{test}: its test: pytest {test}")
    return 0
