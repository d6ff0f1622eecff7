"""`unreel pack`: a corpus rewritten once, so that training from it costs less."""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from unreel.cli.terminal import ProgressBar, escape_markup, parse_args, stderr_console
from unreel.io.worker_pool import Limits
from unreel.packing.piece_encoder import PackSettings

if TYPE_CHECKING:
    from unreel.packing.pack import PackResult


@dataclasses.dataclass
class PackArgs:
    """Rewrite videos into small H.264 pieces in tar shards, to be given wherever a folder of videos is.

    Upright, without sound, at their own times, never enlarged; the originals stay as they are. What was stopped goes on
    when the same command is given again. Copy OUT to a store and use it from there: s3://, gs://, https://.
    """

    source: Positional[Path]
    """A folder, a text file of paths, or a CSV with path, label, group."""
    out: Positional[Path]
    """Folder to make."""
    root: Path | None = None
    """Folder that the paths of a list are relative to; by default the list's own."""
    workers: int = 0
    """Processes that code; 0 means one for each core."""
    settings: Annotated[PackSettings, OmitArgPrefixes, tyro.conf.arg(name="pieces")] = dataclasses.field(
        default_factory=PackSettings
    )
    limits: Annotated[Limits, OmitArgPrefixes, tyro.conf.arg(name="limits")] = dataclasses.field(
        default_factory=lambda: Limits(file_limit_s=1800.0)
    )
    gain: bool = True
    """Measure at the end what training gains, on a few videos."""


def pack_command(args: list[str]) -> int:
    given = parse_args(PackArgs, args, "pack")
    from unreel.packing.pack import pack

    inspecting, packing = ProgressBar("inspecting"), ProgressBar("packing")

    def advance(done: int, total: int) -> None:
        """A terminal shows one bar at a time."""
        inspecting.bar.stop()
        packing.bar.start()
        packing.advance(done, total)

    with inspecting, contextlib.closing(packing):
        workers = given.workers or os.cpu_count() or 1
        what = (given.source, given.out, given.settings, given.root, workers)
        done = pack(*what, inspecting.advance, advance, given.limits)
    for bad in done.quarantine[:10]:
        stderr_console.print(escape_markup(f"left out {bad.path}: {bad.reason} {bad.detail}".rstrip()))
    if len(done.quarantine) > 10:
        stderr_console.print(f"... and {len(done.quarantine) - 10} more, see {given.out / 'quarantine.csv'}")
    if not done.is_new:
        print(f"{given.out} was packed before; nothing had to be done")
    before, after = done.bytes_before / 1e6, done.bytes_after / 1e6
    print(f"{given.out}: {done.num_pieces} pieces of {done.num_videos} videos in {done.num_shards} shards")
    print(f"  size      {before:,.1f} MB before, {after:,.1f} MB after ({after / max(before, 1e-9):.2f} of it)")
    print(f"  quality   {describe_quality(done, given.settings.psnr_db)}")
    if given.gain:
        print_speedup(given.out)
    return 0


def describe_quality(summary: "PackResult", psnr_db: float) -> str:
    """How many pieces reach the PSNR, and why the others do not."""
    good = summary.num_pieces - summary.num_limited_by_chroma - summary.num_below_psnr
    said = f"PSNR of {psnr_db:g} dB or more against the scaled original in {good} of {summary.num_pieces} pieces"
    if summary.num_limited_by_chroma:
        said += f"; in {summary.num_limited_by_chroma} it is reached but for the halved colour resolution of yuv420p"
    if summary.num_below_psnr:
        said += f"; {summary.num_below_psnr} do not reach it at the best quality there is"
    return said


def print_speedup(out: Path) -> None:
    from unreel.packing.speedup import WINDOW_FRAMES, measure_speedup
    from unreel.video.sources.packed_corpus import open_packed_corpus

    gain = measure_speedup(out, Path(open_packed_corpus(out).description["root"]))
    if gain is None:
        print("  gain      not measured: the originals can't be read")
        return
    how = f"{gain.windows} windows of {WINDOW_FRAMES} frames of {gain.pieces} pieces, original and piece in turns"
    print(f"  gain      {gain.factor:.1f} times as fast to decode ({gain.least:.1f} to {gain.most:.1f}; {how})")
