"""Write the report of a run again."""

from pathlib import Path

from unreel.report.pages.run_page import write_report
from unreel.training.run_folder.config import read_config


def report(run: str | Path) -> Path:
    """Write RUN/report.html again from the files of the run folder; returns its path. Raises RunError."""
    read_config(Path(run))
    return write_report(Path(run))
