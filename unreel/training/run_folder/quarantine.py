"""Files that pass the inspection and fail while training: left out of the batch, written down, counted."""

import csv
from pathlib import Path

from unreel.errors import DiskError, InputError

COLUMNS = ("path", "reason", "detail")


class RunQuarantine:
    """The quarantine list of a run, `quarantine.csv`; grows when a file fails, stops the run when too many do.

    With several processes all know it and one writes it.
    """

    def __init__(self, run_folder: Path, num_files: int, max_bad_share: float, is_writer: bool = True) -> None:
        self.path, self.num_files, self.max_bad_share = run_folder / "quarantine.csv", num_files, max_bad_share
        self.is_writer = is_writer
        self.reasons: dict[str, str] = {}  # path: "reason: detail"
        if self.path.exists():
            with open(self.path, newline="") as file:
                rows = list(csv.DictReader(file))
            self.reasons = {row["path"]: f"{row['reason']}: {row['detail']}".rstrip(": ") for row in rows}

    def add(self, failures: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Add (path, "reason: detail") of files that failed; returns the new ones. InputError above the share."""
        new_ones = []
        for path, why in failures:
            if path in self.reasons:
                continue
            self.reasons[path] = why
            new_ones.append((path, why))
            if self.is_writer:
                self._append_row(path, why)
        if failures and len(self.reasons) > self.max_bad_share * self.num_files:
            raise InputError(
                f"{len(self.reasons)} of {self.num_files} files can't be used, more than "
                f"--max-bad-share {self.max_bad_share:g}; the reasons are in {self.path}"
            )
        return new_ones

    def _append_row(self, path: str, reason: str) -> None:
        reason, _, detail = reason.partition(": ")
        new = not self.path.exists()
        try:
            with open(self.path, "a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(COLUMNS)
                writer.writerow([path, reason, detail])
        except OSError as error:
            raise DiskError(f"{self.path}: can't be written ({error.strerror})") from error
