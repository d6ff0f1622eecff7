"""A CSV file that grows by rows while a run trains."""

import csv
from pathlib import Path
from typing import Any

from unreel.errors import DiskError
from unreel.io.atomic_write import append_text, atomic_write_text
from unreel.io.retry import retry_on_stall


class CsvLog:
    """A CSV file that grows by rows and is cut back to a step when a run resumes; the first row names the columns."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        self.columns: list[str] = []
        if path.exists():
            text = retry_on_stall(path.read_text)
            reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())  # a full disk tears the last row
            rows = [row for row in reader if row["step"].isdigit() and int(row["step"]) <= last_step]
            self.columns = list(reader.fieldnames or [])
            self._rewrite(rows)

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
