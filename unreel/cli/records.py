"""Tables for other programs: with --json or --csv a command prints records in place of its table, all in one way."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from unreel.errors import InputError

Record = Mapping[str, Any]


def refuse_json_and_csv(json: bool, csv: bool) -> None:
    if json and csv:
        raise InputError("give --json or --csv, not both")


def print_records(records: Sequence[Record], as_json: bool, as_csv: bool, document: Any = None) -> bool:
    """Print records as JSON (or `document`, where that holds more) or as CSV; False, and nothing, for neither."""
    if as_json:
        json.dump(records if document is None else document, sys.stdout, indent=2, default=str)
        print()
    elif as_csv:
        print_csv(records)
    return as_json or as_csv


def print_csv(records: Sequence[Record]) -> None:
    """A line for each record; a column for each key, in the order of their first appearance."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([format_cell(record.get(column)) for column in columns] for record in records)


def format_cell(value: Any) -> Any:
    """Lists with spaces between, other structures as JSON, nothing for None."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return json.dumps(value, default=str) if isinstance(value, Mapping) else value
