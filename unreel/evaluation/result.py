"""What every evaluation returns: figures, the protocol they were taken under, and what to bear in mind."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table


@dataclass
class Result:
    """A table of figures. Row name to column name to figure, in percent unless the column says otherwise.

    `intervals` has the 95 % interval of some of the figures, `extras` what a page shows beside them (plain JSON);
    `floors` names the rows that did not learn, with one sentence on each.
    """

    kind: str
    title: str
    rows: dict[str, dict[str, float]]
    caption: str
    protocol: dict[str, Any]
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    floors: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        pairs = known.get("intervals", {}).items()
        known["intervals"] = {row: {c: (low, high) for c, (low, high) in cells.items()} for row, cells in pairs}
        return cls(**known)

    @property
    def columns(self) -> list[str]:
        """Every column that some row has, in the order of the first row that has it."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def to_table(self) -> Table:
        """For the terminal, the protocol as caption; 95 % intervals behind the first figure of rows that learned."""
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
        """A figure as it is printed, its interval behind it if asked; nothing where a row has none."""
        if value is None:
            return ""
        low_high = self.intervals.get(row, {}).get(column)
        shown = with_interval and low_high and row not in self.floors
        behind = f" [{low_high[0]:.0f}, {low_high[1]:.0f}]" if shown and low_high else ""
        return f"{value:.1f}{behind}"
