"""`unreel embed`, `unreel index` and `unreel inflate`: an encoder at work."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from unreel.cli.arguments import LimitOptions, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.errors import InputError
from unreel.io.limits import Limits, use_limits

if TYPE_CHECKING:
    from unreel.indexing.store.update import StoreSummary


@dataclasses.dataclass
class EmbedArgs:
    """One unit-length vector per video or per clip, with its seconds, as Parquet."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    source: Positional[Path]
    """A video, a folder, a text file of paths, or a CSV."""
    out: Path
    """A Parquet file to write, or a folder to keep up to date: FOLDER/parts/*.parquet."""
    per: Literal["video", "clip"] = "video"
    """A row per video, or per clip."""
    num_clips: int = 10
    """Clips per video, evenly spread."""
    devices: int = 1
    """Processes that fill a folder. torchrun and SLURM say it for themselves."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the checkpoint names."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def embed_command(args: list[str]) -> int:
    given = parse_args(EmbedArgs, args, "embed")
    if given.out.suffix != ".parquet":
        return update_store_from_args(given)
    if given.devices > 1:
        raise InputError(f"--devices {given.devices} fill a folder; {given.out} is one file, written by one process")
    from unreel.verbs.embed import embed

    with use_limits(given.limits), ProgressBar("embedding") as advance:
        what = (given.run, given.source, given.out, given.per, given.num_clips)
        count, failed = embed(*what, advance, given.allow_import)
    for failure in failed:
        stderr_console.print(escape_markup(f"left out {failure.path}: {failure}"))
    print(f"{given.out}: {count} rows" + (f", {len(failed)} files left out" if failed else ""))
    return 0


def update_store_from_args(args: EmbedArgs) -> int:
    from unreel.indexing.store.clip_sampling import EvenSampling
    from unreel.indexing.store.update import StoreUpdateOptions, update_store

    choice = EvenSampling(args.per, args.num_clips)
    labour = StoreUpdateOptions(args.devices, args.allow_import, ProgressBar)
    with use_limits(args.limits):
        summary = update_store(args.run, args.source, args.out, choice, labour)
    return print_store_summary(args.out, summary)


@dataclasses.dataclass
class IndexArgs:
    """Vectors of clips that slide over every video, with their seconds, in a folder that is kept up to date."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    source: Positional[Path]
    """A video, a folder, a text file of paths, or a CSV."""
    out: Path
    """The index, a folder: INDEX/parts/*.parquet."""
    length_s: float = 0.0
    """Seconds of a clip; 0 means as many as the encoder was trained with."""
    hop_s: float = 0.0
    """Seconds from one clip to the next; 0 means half a clip."""
    by: Literal["features", "heads"] = "features"
    """The encoder's features, or what the heads make of them that it was trained with (dual: clip and series)."""
    devices: int = 1
    """Processes. torchrun and SLURM say it for themselves."""
    to: str = ""
    """Bring a database's table up to date too: lancedb:PATH, qdrant:URL or pgvector:DSN, as in `unreel export`."""
    table: str = "unreel"
    """Its name. A table that is there must be of this index: its rows are replaced, others refused."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the checkpoint names."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def index_command(args: list[str]) -> int:
    given = parse_args(IndexArgs, args, "index")
    from unreel.indexing.store.clip_sampling import SlidingWindow
    from unreel.indexing.store.update import StoreUpdateOptions
    from unreel.verbs.embed import update_index
    from unreel.verbs.export import export_index, require_database

    if given.to:
        require_database(given.to)
    choice = SlidingWindow(given.length_s, given.hop_s, given.by)
    labour = StoreUpdateOptions(given.devices, given.allow_import, ProgressBar)
    with use_limits(given.limits):
        found, said = update_index(given.run, given.source, given.out, choice, labour)
    print_store_summary(given.out, found)
    if said:
        print(f"{given.out}: {said}")
    if given.to and found.rank == 0:
        rows = export_index(given.out, given.to, given.table, replace=True)
        print(f"{given.to.partition(':')[0]}: {rows} rows in the table '{given.table}'")
    return 0


def print_store_summary(out: Path, summary: "StoreSummary") -> int:
    """Say what a store holds now; of several processes the first one says it."""
    if summary.rank == 0:
        new = (
            f", {summary.num_embedded} contents newly embedded"
            if summary.num_embedded
            else ", nothing had to be embedded"
        )
        lost = f"; {len(summary.left_out)} files left out, see {out / 'left_out.csv'}" if summary.left_out else ""
        print(f"{out}: {summary.num_rows} rows of {summary.num_videos} videos{new}{lost}")
    return 0


@dataclasses.dataclass
class InflateArgs:
    """Make a video encoder of 2D weights, each kernel repeated along time and divided by its length."""

    source: Positional[Path]
    """A file of weights (.safetensors, .pth), or a run with a network X-2d (--method simclr-frames)."""
    out: Path
    """Folder of the encoder; must not exist yet."""
    backbone: str = ""
    """The 3D network; by default the run's own X, r3d50 for a file."""
    num_frames: int = 0
    """Frames of a clip; 0 means 8 for tiny, 16 for the others."""


def inflate_command(args: list[str]) -> int:
    given = parse_args(InflateArgs, args, "inflate")
    from unreel.verbs.embed import inflate_encoder

    encoder = inflate_encoder(given.source, given.out, given.backbone, given.num_frames)
    print(f"{given.out}: {encoder.spec.backbone}, clips of {encoder.spec.clip.num_frames} frames")
    return 0
