"""`unreel pack`: rewrite a corpus once, so that training from it costs less."""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import OmitArgPrefixes

from unreel.cli.arguments import EngineOption, FolderArgument, LimitOptions, OutArgument, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.engines.engine_choice import use_engine
from unreel.io.limits import use_limits
from unreel.io.text import format_count, format_path
from unreel.packing.pack_settings import PIECE_LIMITS, PackSettings

if TYPE_CHECKING:
    from unreel.packing.pack import PackResult

MAX_QUARANTINE_LINES = 10


@dataclasses.dataclass
class PackArgs:
    """Rewrite videos into small H.264 pieces in tar shards, usable wherever a folder of videos is.

    Pieces are upright, without sound, with the original times, and never enlarged; the originals do not change. The
    same command continues an interrupted packing. To read OUT from a store (s3://, gs://, https://), copy it there.
    """

    source: FolderArgument
    """A folder, a text file of paths, or a CSV with path, label, group."""
    out: OutArgument
    """Folder to write."""
    root: Path | None = None
    """Folder that the paths of a list are relative to; by default the folder of the list."""
    workers: int = 0
    """Worker processes; 0 means one per core."""
    settings: Annotated[PackSettings, OmitArgPrefixes, tyro.conf.arg(name="pieces")] = dataclasses.field(
        default_factory=PackSettings
    )
    engine: EngineOption = "local"
    limits: LimitOptions = dataclasses.field(default_factory=lambda: PIECE_LIMITS)
    gain: bool = True
    """Measure at the end, on a few videos, how much faster the pieces decode."""


def pack_command(args: list[str]) -> int:
    pack_args: PackArgs = parse_args(PackArgs, args, "pack")
    result = _pack_with_progress(pack_args)
    _print_quarantine(result, pack_args.out / "quarantine.csv")
    if not result.is_new:
        print(f"{pack_args.out} was packed before; nothing to do")
    before_mb, after_mb = result.bytes_before / 1e6, result.bytes_after / 1e6
    ratio = after_mb / max(before_mb, 1e-9)
    counts = (result.num_pieces, "piece"), (result.num_videos, "video"), (result.num_shards, "shard")
    pieces, videos, shards = (format_count(*count) for count in counts)
    print(f"{pack_args.out}: {pieces} of {videos} in {shards}")
    print(f"  size      {before_mb:,.1f} MB before, {after_mb:,.1f} MB after ({ratio:.2f} of it)")
    print(f"  quality   {describe_quality(result, pack_args.settings.psnr_db)}")
    if pack_args.gain:
        with use_limits(pack_args.limits):
            print_speedup(pack_args.out)
    return 0


def _pack_with_progress(args: PackArgs) -> "PackResult":
    from unreel.packing.pack import pack

    inspecting, packing = ProgressBar("inspecting"), ProgressBar("packing")

    def advance(done: int, total: int) -> None:
        """A terminal shows one bar at a time."""
        inspecting.bar.stop()
        packing.bar.start()
        packing.advance(done, total)

    workers = args.workers or os.cpu_count() or 1
    with use_engine(args.engine), inspecting, contextlib.closing(packing):
        return pack(args.source, args.out, args.settings, args.root, workers, inspecting.advance, advance, args.limits)


def _print_quarantine(result: "PackResult", quarantine_file: Path) -> None:
    for entry in result.quarantine[:MAX_QUARANTINE_LINES]:
        left_out = f"left out {entry.path}: {entry.reason} {entry.detail}".rstrip()
        stderr_console.print(escape_markup(format_path(left_out)))
    num_more = len(result.quarantine) - MAX_QUARANTINE_LINES
    if num_more > 0:
        stderr_console.print(f"... and {num_more} more, see {quarantine_file}")


def describe_quality(result: "PackResult", psnr_db: float) -> str:
    """How many pieces reach the PSNR, and why the others do not."""
    num_good = result.num_pieces - result.num_limited_by_chroma - result.num_below_psnr
    text = f"PSNR of {psnr_db:g} dB or more against the scaled original in {num_good} of {result.num_pieces} pieces"
    if result.num_limited_by_chroma:
        text += f"; {result.num_limited_by_chroma} miss it only because yuv420p halves the colour resolution"
    if result.num_below_psnr:
        text += f"; {result.num_below_psnr} miss it even at the lowest CRF"
    return text


def print_speedup(out: Path) -> None:
    from unreel.packing.speedup import WINDOW_FRAMES, measure_speedup
    from unreel.video.sources.packed_corpus import open_packed_corpus

    speedup = measure_speedup(out, Path(open_packed_corpus(out).description["root"]))
    if speedup is None:
        print("  gain      not measured: the originals can't be read")
        return
    windows = f"{speedup.windows} windows of {WINDOW_FRAMES} frames of {speedup.pieces} pieces, read in turns"
    spread = f"{speedup.least:.1f} to {speedup.most:.1f}"
    print(f"  gain      {speedup.factor:.1f} times as fast to decode ({spread}; {windows})")
