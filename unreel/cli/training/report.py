"""`unreel report`."""

import dataclasses

from unreel.cli.arguments import RunArgument, parse_args


@dataclasses.dataclass
class ReportArgs:
    """Write RUN/report.html again from the files of the run folder."""

    run: RunArgument


def report_command(argv: list[str]) -> int:
    args = parse_args(ReportArgs, argv, "report")
    from unreel.verbs.training.report import report

    print(report(args.run))
    return 0
