"""A CSV file that grows by rows while a run trains."""

import csv
from pathlib import Path
from typing import Any

from unreel.errors import DiskError, InputError
from unreel.io.atomic_write import append_text, atomic_write_text
from unreel.io.retry import retry_on_stall


class CsvLog:
    """A CSV file that grows by rows and is cut back to a step when a run resumes; the first row names the columns."""

    def __init__(self, path: Path, last_step: int) -> None:
        """Raises InputError for a file that is no such table."""
        self.path = path
        self.columns: list[str] = []
        if path.exists():
            self.columns, rows = _read_rows(path)
            self._rewrite([row for row in rows if int(row["step"]) <= last_step])

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        lines = [",".join(self.columns)] + [",".join(str(row[c]) for c in self.columns) for row in rows]
        atomic_write_text(self.path, "\n".join(lines) + "\n" if self.columns else "")

    def append_row(self, row: dict[str, float | int | bool]) -> None:
        """Append a row, which must begin with the step. Raises DiskError."""
        header = "" if self.columns else ",".join(row) + "\n"
        self.columns = self.columns or list(row)
        try:
            append_text(self.path, header + ",".join(str(row[c]) for c in self.columns) + "\n")
        except OSError as error:
            raise DiskError(
                f"{self.path}: the log can't be written ({error.strerror}); free some space and resume"
            ) from error


def _read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows; the last line may be torn, by a full disk. Raises InputError with the line of other rubbish."""
    line = 0
    try:
        text = retry_on_stall(lambda: path.read_text(encoding="utf-8"))
        reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        columns, rows = list(reader.fieldnames or []), list[dict[str, str]]()
        for row in reader:
            line = reader.line_num
            if set(row) != set(columns) or None in row.values() or not row["step"].isdigit():
                raise ValueError(f"{','.join(map(str, row.values()))[:40]!r} is no row of the table")
            rows.append(row)
    except (ValueError, KeyError, csv.Error) as error:
        where, reason = (
            f", line {line}" if line else "",
            "it has no column step" if isinstance(error, KeyError) else error,
        )
        advice = "remove it, or put back a copy; the run goes on without its earlier rows"
        raise InputError(f"{path}{where}: not the table that unreel wrote ({reason}); {advice}") from error
    return columns, rows
