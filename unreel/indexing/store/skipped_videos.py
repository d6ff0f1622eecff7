"""Contents that could not be embedded, and why: left_out.csv, and one file of new entries for each process."""

import contextlib
import csv
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from unreel.indexing.store.embeddings_file import CONTENT_HASH
from unreel.indexing.store.file_names import LEFT_OUT_CSV
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.types import FileFailure

TRANSIENT_REASONS = ("missing", "unreadable")  # the file may be readable next time
EXCEEDED_LIMITS = "exceeded_limits"  # the column of FileFailure.exceeded_limits, "yes" or "no"


def is_permanent(failure: FileFailure) -> bool:
    """Whether the file would fail again for the same reason, until its content changes."""
    return failure.reason not in TRANSIENT_REASONS and not failure.exceeded_limits


def record_skipped(folder: Path, process: str, content_hash: str, failure: FileFailure) -> None:
    """Append one failure to the file of this process. Raises DiskError."""
    path = folder / f".left_out-{process}.csv"
    with (
        disk_errors(path, advice="free some space, then run it again"),
        path.open("a", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file, lineterminator="\n").writerow(
            [content_hash, " ".join(str(failure).split()), _format_exceeded(failure)]
        )


def read_skipped(folder: Path) -> dict[str, FileFailure]:
    """Failures by content hash, without their paths, from left_out.csv and the files of the processes."""
    failures: dict[str, FileFailure] = {}
    with (
        contextlib.suppress(FileNotFoundError),
        (folder / LEFT_OUT_CSV).open(newline="", encoding="utf-8", errors="replace") as file,
    ):
        failures |= {
            row[CONTENT_HASH]: _parse_failure(row["reason"], row.get(EXCEEDED_LIMITS))
            for row in csv.DictReader(file)
            if row.get(CONTENT_HASH) and row.get("reason")
        }
    for path in folder.glob(".left_out-*.csv"):
        text = path.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()  # a killed process may leave half a line
        failures |= {row[0]: _parse_failure(*row[1:]) for row in csv.reader(lines) if len(row) in (2, 3)}
    return failures


def write_skipped(folder: Path, failures: Iterable[tuple[str, FileFailure]]) -> None:
    """Write left_out.csv from (content hash, failure), then delete the files of the processes. Raises DiskError."""
    process_files = list(folder.glob(".left_out-*.csv"))
    with disk_errors(folder / LEFT_OUT_CSV):
        with (
            atomic_path(folder / LEFT_OUT_CSV) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["path", CONTENT_HASH, "reason", EXCEEDED_LIMITS])
            writer.writerows(
                [failure.path, content_hash, str(failure), _format_exceeded(failure)]
                for content_hash, failure in failures
            )
        for path in process_files:
            path.unlink()


def _format_exceeded(failure: FileFailure) -> str:
    return "yes" if failure.exceeded_limits else "no"


def _parse_failure(reason: str, exceeded_limits: str | None = None) -> FileFailure:
    """A failure without its path, from the columns of a list."""
    failure = FileFailure.parse("", reason)
    if exceeded_limits:
        return replace(failure, exceeded_limits=exceeded_limits == "yes")
    # lists of earlier versions have no such column, only the texts of io/limits.py of that time
    was_exceeded = any(text in failure.detail for text in (" did not end within ", " MB of memory"))
    return replace(failure, exceeded_limits=was_exceeded)
