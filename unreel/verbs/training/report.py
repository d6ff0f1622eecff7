"""Write the report of a run again."""

from pathlib import Path

from unreel.training.run_folder.config import read_config


def report(run: str | Path) -> Path:
    """Write RUN/report.html from the files of the run folder; returns its path.

    Raises RunError when the folder is not a run.

    >>> unreel.verbs.training.report.report(run).name
    'report.html'
    """
    from unreel.report.pages.run_page import write_report  # its templates and charts take time to import

    read_config(Path(run))
    return write_report(Path(run))
