"""Output on the terminal: the console on standard error, escaped text, tables."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

stderr_console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)  # :key: may be a file's name


def escape_markup(text: str) -> str:
    """Text that rich prints as it is."""
    return escape(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns flush right; the last one flush left and never broken, so that a path can be copied whole."""
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns) - 1)]
    for line in lines:
        print("  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]))
