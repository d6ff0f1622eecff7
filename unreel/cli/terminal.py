"""What every command shares: parsing, the progress bar, and words on standard error."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tyro
from rich.console import Console
from rich.progress import Progress

SAY_S = 30.0
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def parse(target: Any, args: list[str], command: str) -> Any:
    return tyro.cli(target, args=args, prog=f"unreel {command}")


def escape(text: str) -> str:
    from rich.markup import escape as rich_escape

    return rich_escape(text)


def help_text(text: str) -> Any:
    return tyro.conf.arg(help=text)


def option(args: list[str], name: str, default: str) -> str:
    """The value of an option before the rest is parsed: the chosen method decides which options there are."""
    for i, arg in enumerate(args):
        if arg == name and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(f"{name}="):
            return arg.split("=", 1)[1]
    return default


def typed(name: str, value: Any) -> str:
    """An option as one types it."""
    if dataclasses.is_dataclass(value):
        return " ".join(typed(n, v) for n, v in vars(value).items())
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([f"--{flag}", *(str(word) or "''" for word in words)])


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns flush right, the last one flush left and never broken: a path has to stay whole to be copied."""
    lines = [tuple(names), *map(tuple, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(names) - 1)]
    for line in lines:
        print("  ".join([*(word.rjust(width) for word, width in zip(line, widths, strict=False)), line[-1]]))


class progress:
    """A bar on a terminal for `advance(done, total)` calls; elsewhere a line now and then, where it takes long."""

    def __init__(self, what: str) -> None:
        self.what, self.said_s = what, time.monotonic()
        self.bar = Progress(console=stderr, transient=True, disable=not stderr.is_terminal)
        self.task = self.bar.add_task(what, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self.bar.start()
        return self.advance

    def advance(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)
        if not stderr.is_terminal and time.monotonic() - self.said_s > SAY_S:
            stderr.print(f"{self.what}: {done} of {total}")
            self.said_s = time.monotonic()
        if done >= total:
            self.bar.stop()

    def close(self) -> None:
        self.bar.stop()

    def __exit__(self, *_: object) -> None:
        self.close()
