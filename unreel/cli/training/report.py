"""`unreel report`."""

import dataclasses
from pathlib import Path

from tyro.conf import Positional

from unreel.cli.arguments import parse_args


@dataclasses.dataclass
class ReportArgs:
    """Write RUN/report.html again from the files of the run folder."""

    run: Positional[Path]


def report_command(argv: list[str]) -> int:
    args = parse_args(ReportArgs, argv, "report")
    from unreel.verbs.training.report import report

    print(report(args.run))
    return 0
