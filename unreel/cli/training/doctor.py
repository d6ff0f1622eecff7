"""`unreel doctor`: what this installation and this machine can do, what is missing, and what to do about it."""

import dataclasses
from pathlib import Path

from rich.console import Console
from rich.table import Table

from unreel.cli.arguments import parse_args
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.cli.terminal import escape_markup


@dataclasses.dataclass
class DoctorArgs:
    """Check the installation and the machine: versions, cores, GPU, memory, disks, codecs, optional parts."""

    folder: Path = Path()
    """Where runs are to be written: its disk is looked at."""
    json: bool = False
    """Print the findings as JSON to standard output."""
    csv: bool = False
    """Print them as CSV."""


def doctor_command(argv: list[str]) -> int:
    args: DoctorArgs = parse_args(DoctorArgs, argv, "doctor")
    refuse_json_and_csv(args.json, args.csv)
    from unreel.profiling.machine_check import check_machine

    findings = list(check_machine(args.folder))
    if not print_records([finding._asdict() for finding in findings], args.json, args.csv):
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            table.add_row(escape_markup(finding.name), escape_markup(finding.value))
        console = Console(highlight=False)
        console.print(table)
        advised = [finding for finding in findings if finding.advice]
        for finding in advised:
            console.print(f"[bold]{escape_markup(finding.name)}:[/] {escape_markup(finding.advice)}")
        if not advised:
            console.print("nothing to mend")
    return 1 if any(finding.is_fatal for finding in findings) else 0
