"""Write the report of a run again."""

import dataclasses
from pathlib import Path
from typing import Any

from unreel.io.limits import Limits, get_limits, use_limits
from unreel.training.run_folder.config import read_config


def report(run: str | Path) -> Path:
    """Write RUN/report.html from the files of the run folder, under the run's limit for a file; returns its path.

    First judges the encoder, if RUN/verdict.json has no verdict about its checkpoint. Raises RunError when the folder
    is not a run.

    >>> unreel.verbs.training.report.report(run).name
    'report.html'
    """
    from unreel.report.pages.run_page import write_report  # its templates and charts take time to import
    from unreel.verbs.training.verdict import update_verdict

    with use_limits(read_run_limits(read_config(Path(run)))):
        update_verdict(Path(run))
        return write_report(Path(run))


def read_run_limits(config: dict[str, Any]) -> Limits:
    """The limits of a run by its config.json: its seconds for a file, the memory of the surrounding `use_limits`.

    Reads runs of other versions too, whose settings no longer fit.

    >>> read_run_limits({"settings": {"file_limit_s": 7.0}}).file_limit_s
    7.0
    """
    limits, settings = get_limits(), config.get("settings") or {}
    return dataclasses.replace(limits, file_limit_s=settings.get("file_limit_s", limits.file_limit_s))
