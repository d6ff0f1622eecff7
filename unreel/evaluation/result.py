"""What every evaluation returns: figures, the protocol they were measured under, and warnings."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

MetricRow = dict[str, float]
"""Column to figure."""
Intervals = dict[str, tuple[float, float]]
"""Column to the 95 % interval of its figure."""


@dataclass
class Result:
    """A table of figures: row name to column name to figure, in percent unless the column says otherwise.

    `intervals` has the 95 % intervals of some figures, `extras` what a page shows beside the table (plain JSON),
    `floors` the rows that did not learn (baselines) with one sentence on each. `main_column` is the column to read
    first; `row_main_columns` has it for rows with another one.
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        """Reads what any version wrote; keys that this one does not know are ignored."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        pairs = known.get("intervals", {}).items()
        known["intervals"] = {row: {c: (low, high) for c, (low, high) in cells.items()} for row, cells in pairs}
        return cls(**known)

    @property
    def columns(self) -> list[str]:
        """Every column that some row has, in the order of the first row that has it."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def to_table(self) -> Table:
        """For the terminal: the protocol as caption, 95 % intervals in the first column of rows that learned."""
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
        if not with_interval or not interval or row in self.floors:
            return f"{value:.1f}"
        return f"{value:.1f} [{interval[0]:.0f}, {interval[1]:.0f}]"
