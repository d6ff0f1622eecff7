"""What every evaluation returns: figures, the protocol they were measured under, and warnings."""

import html
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from unreel.types import Tabular

MetricRow = dict[str, float]
"""Column to figure."""
Intervals = dict[str, tuple[float, float]]
"""Column to the 95 % interval of its figure."""
Outcomes = dict[str, list[float]]
"""Column to one value for each test video, in percent; `FIRST_HIT` has ranks, from which every R@k follows."""
FIRST_HIT = "first hit"
"""Rank of the nearest gallery video of the query's class: 1 is the nearest of all, 0 stands for none in the gallery."""
NAME_WIDTH, BAR_WIDTH, BAR_STEP = 180, 320, 18  # of the picture of a result, in pixels


@dataclass
class Result(Tabular):
    """A table of figures: row name to column name to figure, in percent unless the column says otherwise.

    `intervals` has the 95 % intervals of some figures, `extras` what a page shows beside the table (plain JSON),
    `floors` the rows that did not learn (baselines) with one sentence on each. `main_column` is the column to read
    first; `row_main_columns` has it for rows with another one.

    `outcomes` has the values of single test videos by row, where a figure is their mean; `test_videos` has the "path",
    "label" and "group" of each of these, in the same order.
    """

    kind: str
    title: str
    rows: dict[str, MetricRow]
    caption: str
    protocol: dict[str, Any]
    intervals: dict[str, Intervals] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    floors: dict[str, str] = field(default_factory=dict)
    main_column: str = ""
    row_main_columns: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    test_videos: dict[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        """Reads what any version wrote; keys that this one does not know are ignored."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        pairs = known.get("intervals", {}).items()
        known["intervals"] = {row: {c: (low, high) for c, (low, high) in cells.items()} for row, cells in pairs}
        return cls(**known)

    def __repr__(self) -> str:
        """The main figure of each row, a line each; `to_table()` has all, `protocol` what they were measured under."""
        column = self.main_column if self.main_column in self.columns else next(iter(self.columns), "")
        width = max((len(name) for name in self.rows), default=0)
        lines = []
        for name, row in self.rows.items():
            own = self.row_main_columns.get(name, column)
            lines.append(f"  {name:<{width}}  {self.format_cell(name, own, row.get(own))}".rstrip())
        return "\n".join([f"{self.title}: {column} (of {', '.join(self.columns)})", *lines])

    def _repr_html_(self) -> str:
        """For a notebook: the table, and under it a picture of the main figures with their intervals."""
        return super()._repr_html_() + draw_bars(self.list_main_figures())

    def list_main_figures(self) -> dict[str, tuple[float, float, float]]:
        """The figure to read first of each row that has it, with the ends of its interval, or twice itself."""
        first = self.main_column or next(iter(self.columns), "")
        columns = {name: self.row_main_columns.get(name, first) for name in self.rows}
        found = {name: self.rows[name].get(column) for name, column in columns.items()}
        ends = {name: self.intervals.get(name, {}).get(column) for name, column in columns.items()}
        return {n: (value, *(ends[n] or (value, value))) for n, value in found.items() if value is not None}

    def list_rows(self) -> list[dict[str, Any]]:
        """The table: the name of each row as "row", figures by column, ends of intervals as "COLUMN low" and "high"."""
        rows = []
        for name, figures in self.rows.items():
            row: dict[str, Any] = {"row": name}
            for column, value in figures.items():
                row[column] = value
                if interval := self.intervals.get(name, {}).get(column):
                    row |= {f"{column} low": interval[0], f"{column} high": interval[1]}
            rows.append(row)
        return rows

    def list_outcomes(self) -> list[dict[str, Any]]:
        """A row for each test video and row of the table: "row", path, label, group, and its value in each column."""
        videos = [
            dict(zip(self.test_videos, values, strict=True)) for values in zip(*self.test_videos.values(), strict=True)
        ]
        return [
            {"row": name, **(videos[n] if videos else {}), **dict(zip(kept, values, strict=True))}
            for name, kept in self.outcomes.items()
            for n, values in enumerate(zip(*kept.values(), strict=True))
        ]

    def get_outcomes(self, row: str, column: str) -> np.ndarray | None:
        """The values of single test videos whose mean is a figure, float64 (Q,) in percent; None where none are kept.

        >>> made = Result("retrieval", "", {}, "", {}, outcomes={"joint": {"first hit": [1, 7, 0]}})
        >>> made.get_outcomes("joint", "R@5").tolist(), made.get_outcomes("joint", "mAP")
        ([100.0, 0.0, 0.0], None)
        """
        kept = self.outcomes.get(row, {})
        if column in kept:
            return np.asarray(kept[column], np.float64)
        if FIRST_HIT not in kept or not column.startswith("R@"):
            return None
        rank_Q = np.asarray(kept[FIRST_HIT], np.int64)
        return 100.0 * ((rank_Q >= 1) & (rank_Q <= int(column.removeprefix("R@"))))

    @property
    def columns(self) -> list[str]:
        """Every column that some row has, in the order of the first row that has it."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def to_table(self) -> Table:
        """For the terminal: the protocol as caption, 95 % intervals in the first column."""
        table = Table(title=self.title, caption=self.caption, caption_justify="left")
        table.add_column("features", no_wrap=True)
        for name in self.columns:
            table.add_column(name, justify="right")
        for name, row in self.rows.items():
            cells = (
                self.format_cell(name, column, row.get(column), column == self.columns[0]) for column in self.columns
            )
            table.add_row(name, *cells, style="dim" if name in self.floors else "bold")
        return table

    def format_cell(self, row: str, column: str, value: float | None, with_interval: bool = True) -> str:
        """A figure as it is printed, with its interval where it has one and it is wanted; "" for no figure."""
        if value is None:
            return ""
        interval = self.intervals.get(row, {}).get(column)
        if not with_interval or not interval:
            return f"{value:.1f}"
        return f"{value:.1f} [{interval[0]:.0f}, {interval[1]:.0f}]"


def draw_bars(figures: dict[str, tuple[float, float, float]]) -> str:
    """A bar for each name, as long as its figure, with a line from the low to the high end of its interval; as SVG.

    >>> draw_bars({"joint": (50.0, 40.0, 60.0)}).count("<rect")
    1
    """
    longest = max((max(abs(end) for end in ends) for ends in figures.values()), default=0.0)
    if not figures or not math.isfinite(longest):
        return ""
    scale, lines = BAR_WIDTH / (longest or 1.0), []
    for number, (name, (value, low, high)) in enumerate(figures.items()):
        y, x1, x2 = BAR_STEP * number, NAME_WIDTH + low * scale, NAME_WIDTH + high * scale
        lines.append(f'<text x="{NAME_WIDTH - 6}" y="{y + 13}" text-anchor="end">{html.escape(name)}</text>')
        lines.append(
            f'<rect x="{NAME_WIDTH}" y="{y + 3}" width="{max(value, 0) * scale:.1f}" height="12" fill="#8ab"/>'
        )
        if low < high:
            lines.append(f'<path d="M{x1:.1f} {y + 9}H{x2:.1f}" stroke="currentColor" stroke-width="2"/>')
        lines.append(f'<text x="{NAME_WIDTH + max(value, high, 0) * scale + 6:.1f}" y="{y + 13}">{value:.1f}</text>')
    size = f'width="{NAME_WIDTH + BAR_WIDTH + 60}" height="{BAR_STEP * len(figures)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12" fill="currentColor">{"".join(lines)}</svg>'
