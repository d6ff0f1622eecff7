"""`unreel export`: an index for other programs."""

import dataclasses
import inspect
from typing import Literal

from unreel.cli.arguments import IndexArgument, parse_args
from unreel.io.text import format_count


@dataclasses.dataclass
class ExportArgs:
    """Write the rows of an index for another program: as files, or as a table of a vector database.

    {kinds}

    It only makes copies; nothing that exists is changed. `unreel index --to` keeps a table up to date.
    """

    index: IndexArgument
    """What `unreel index` made, or the address of a database, as --to takes one."""
    to: str
    """KIND:PLACE, see above."""
    table: str = "unreel"
    """Name of the table or collection in a database."""
    nearest: Literal["exact", "approximate"] = "exact"
    """How whoever opens the table searches it: by comparison with all rows, or by the database's own index, which is
    made now, and whose recall is measured and shown."""


def export_command(args: list[str]) -> int:
    from unreel.indexing.export.destination import Destination, format_kinds

    ExportArgs.__doc__ = inspect.cleandoc(ExportArgs.__doc__ or "").replace("{kinds}", format_kinds())
    options = parse_args(ExportArgs, args, "export")
    from unreel.verbs.indexing.export import export

    destination = Destination.parse(options.to).in_table(options.table).searched(options.nearest)
    num_rows = export(options.index, destination, options.table)
    print(f"{destination}: {format_count(num_rows, 'row')} written")
    return 0
