"""A table for the terminal with as many columns as there is room for; a note names the others."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from unreel.io.text import format_path

FRAME = 3  # signs that a column takes besides its text: a line and a space on each side
LEAST_NAME = 20


class TextRow(NamedTuple):
    """A row as it is printed: its name, and the text of each column that it has."""

    name: str
    cells: dict[str, str]
    is_baseline: bool = False


def build_fitting_table(
    title: str, columns: Sequence[str], rows: Sequence[TextRow], notes: list[str], width: int
) -> Table:
    """A table of at most `width` signs, of the first columns that fit and of those behind that still do."""
    name_width = choose_name_width(rows, width)
    shown = choose_columns(columns, rows, width - name_width - FRAME - 1)
    left_out = [column for column in columns if column not in shown]
    if left_out:
        names = ", ".join(f"'{column}'" if "," in column else column for column in left_out)
        notes = [f"Not shown at this width: {names}; --csv has all, and so has a wider terminal.", *notes]
    caption = "\n".join(escape(format_path(note)) for note in notes)
    table = Table(title=escape(format_path(title)), caption=caption, caption_justify="left")
    table.add_column("encoder", max_width=name_width, overflow="fold")
    for column in shown:
        table.add_column(column, justify="right", min_width=measure_column(column, rows))
    for row in rows:
        texts = [escape(row.cells.get(column, "")) for column in shown]
        table.add_row(escape(format_path(row.name)), *texts, style="dim" if row.is_baseline else "bold")
    return table


def choose_name_width(rows: Sequence[TextRow], width: int) -> int:
    """Room for the names: all that they need, at most a quarter of the width; longer ones are broken."""
    longest = max([len("encoder"), *(len(format_path(row.name)) for row in rows)])
    return min(longest, max(LEAST_NAME, width // 4))


def choose_columns(columns: Sequence[str], rows: Sequence[TextRow], room: int) -> list[str]:
    """The columns that fit, in their order; at least the first.

    >>> choose_columns(["R@1", "mAP", "kNN"], [TextRow("a", {"R@1": "61.5", "mAP": "52.1 to 70.3", "kNN": "9"})], 16)
    ['R@1', 'kNN']
    """
    shown: list[str] = []
    for column in columns:
        needed = measure_column(column, rows) + FRAME
        if needed <= room or not shown:
            shown.append(column)
            room -= needed
    return shown


def measure_column(column: str, rows: Sequence[TextRow]) -> int:
    """The width of a column: its longest line, and the longest word of its title, which may be broken."""
    lines = [line for row in rows for line in row.cells.get(column, "").split("\n")]
    return max(map(len, [*lines, *column.split()]))
