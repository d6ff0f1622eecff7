"""What every command shares: parsing, the progress bar, and words on standard error."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tyro
from rich.console import Console
from rich.progress import Progress

PROGRESS_LINE_INTERVAL_S = 30.0
stderr_console = Console(stderr=True, highlight=False, soft_wrap=True)


def parse_args(target: Any, args: list[str], command: str) -> Any:
    return tyro.cli(target, args=args, prog=f"unreel {command}")


def escape_markup(text: str) -> str:
    from rich.markup import escape as rich_escape

    return rich_escape(text)


def argument_help(text: str) -> Any:
    return tyro.conf.arg(help=text)


def read_option(args: list[str], name: str, default: str) -> str:
    """The value of an option before the rest is parsed: the chosen method decides which options there are."""
    for i, arg in enumerate(args):
        if arg == name and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(f"{name}="):
            return arg.split("=", 1)[1]
    return default


def format_option(name: str, value: Any) -> str:
    """An option as one types it."""
    if dataclasses.is_dataclass(value):
        return " ".join(format_option(n, v) for n, v in vars(value).items())
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([f"--{flag}", *(str(word) or "''" for word in words)])


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns flush right, the last one flush left and never broken: a path has to stay whole to be copied."""
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns) - 1)]
    for line in lines:
        print("  ".join([*(word.rjust(width) for word, width in zip(line, widths, strict=False)), line[-1]]))


class ProgressBar:
    """A bar on a terminal for `advance(done, total)` calls; elsewhere a line now and then, where it takes long."""

    def __init__(self, label: str) -> None:
        self.label, self.last_line_s = label, time.monotonic()
        self.bar = Progress(console=stderr_console, transient=True, disable=not stderr_console.is_terminal)
        self.task_id = self.bar.add_task(label, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self.bar.start()
        return self.advance

    def advance(self, completed: int, total: int) -> None:
        self.bar.update(self.task_id, completed=completed, total=total)
        if not stderr_console.is_terminal and time.monotonic() - self.last_line_s > PROGRESS_LINE_INTERVAL_S:
            stderr_console.print(f"{self.label}: {completed} of {total}")
            self.last_line_s = time.monotonic()
        if completed >= total:
            self.bar.stop()

    def close(self) -> None:
        self.bar.stop()

    def __exit__(self, *_: object) -> None:
        self.close()
