"""The quarantine list of a run: files that passed inspection but fail while training."""

import csv
from pathlib import Path

from unreel.errors import DiskError, InputError
from unreel.types import FileFailure

COLUMNS = ("path", "reason", "detail")


class RunQuarantine:
    """Reads and extends quarantine.csv; stops the run when too large a share of the files has failed.

    With several processes, all hold the same list and rank 0 writes it.
    """

    def __init__(self, run_folder: Path, num_files: int, max_bad_share: float, is_writer: bool = True) -> None:
        self.path, self.num_files, self.max_bad_share = run_folder / "quarantine.csv", num_files, max_bad_share
        self.is_writer = is_writer
        self.failures: dict[str, FileFailure] = {}  # by path
        if self.path.exists():
            self.failures = {failure.path: failure for failure in _read_failures(self.path)}

    def add(self, failures: list[FileFailure]) -> list[FileFailure]:
        """Add files that failed; returns the new ones. Raises InputError above the allowed share."""
        new_failures = []
        for failure in failures:
            if failure.path in self.failures:
                continue
            self.failures[failure.path] = failure
            new_failures.append(failure)
            if self.is_writer:
                self._append_row(failure)
        if failures and len(self.failures) > self.max_bad_share * self.num_files:
            raise InputError(
                f"{len(self.failures)} of {self.num_files} files can't be used, more than "
                f"--max-bad-share {self.max_bad_share:g}; the reasons are in {self.path}"
            )
        return new_failures

    def _append_row(self, failure: FileFailure) -> None:
        new = not self.path.exists()
        try:
            with open(self.path, "a", newline="") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(COLUMNS)
                writer.writerow([failure.path, failure.reason, failure.detail])
        except OSError as error:
            raise DiskError(f"{self.path}: can't be written ({error.strerror})") from error


def _read_failures(path: Path) -> list[FileFailure]:
    """Raises InputError for a file that is no such list."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [FileFailure(row["path"], row["reason"], row["detail"]) for row in csv.DictReader(file)]
    except (ValueError, KeyError, csv.Error) as error:
        reason = f"it has no column {error}" if isinstance(error, KeyError) else error
        problem = f"{path}: not the list that unreel wrote ({reason})"
        raise InputError(f"{problem}; remove it, and files that fail are found again, or put back a copy") from error
