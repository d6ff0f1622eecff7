"""`unreel compare`: evaluations side by side."""

import dataclasses
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import Positional

from unreel.cli.arguments import name_argument, parse_args
from unreel.cli.records import print_records, refuse_json_and_csv


@dataclasses.dataclass
class CompareArgs:
    """Evaluations side by side; figures of different protocols or data never share a table."""

    evaluations: Annotated[Positional[tuple[Path, ...]], name_argument("EVAL ...")]
    """Folders that `unreel evaluate all` wrote."""
    out: Path | None = None
    """Also write the comparison as a page (.html)."""
    seeds: bool = True
    """Show runs that differ only in their seed as one row, with mean and deviation."""
    against: str = ""
    """A row by its name in the table, e.g. 'frame difference': the others get a paired test against it."""
    latex: Path | None = None
    """Also write the tables to this file, for the package booktabs."""
    json: bool = False
    """Print every figure and test as JSON in place of the tables."""
    csv: bool = False
    """Print them as CSV, a line each."""


def compare_command(argv: list[str]) -> int:
    args = parse_args(CompareArgs, argv, "compare")
    refuse_json_and_csv(args.json, args.csv)
    from unreel.report.comparison.table_files import list_figures
    from unreel.verbs.evaluation.compare import compare

    comparison = compare(args.evaluations, args.out, args.seeds, args.against, latex=args.latex)
    if print_records(list_figures(comparison), args.json, args.csv):
        return 0
    console = Console()
    for table in comparison.to_tables(console.width):
        console.print(table)
    if args.out:
        print(f"page: {args.out}")
    return 0
