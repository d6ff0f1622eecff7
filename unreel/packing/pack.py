"""Packing a corpus: inspect it, encode its pieces into shards, write the index.

OUT/.packing holds the plan and the progress. It is removed at the end, and pack.json marks OUT as a packed corpus.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import Manifest
from unreel.errors import DiskError, InputError
from unreel.io.atomic_write import atomic_write_bytes, remove_leftovers
from unreel.io.limits import Limits
from unreel.packing.index_writer import write_index
from unreel.packing.output_folder import PLAN_FILE, check_output, lock_output
from unreel.packing.pack_plan import PackPlan
from unreel.packing.pack_settings import PIECE_LIMITS, PackSettings, check_settings
from unreel.packing.shard_files import write_shards
from unreel.types import FileFailure
from unreel.video.sources.packed_corpus import open_packed_corpus
from unreel.video.sources.paths import WORK_FOLDER, is_packed_corpus


@dataclass(frozen=True)
class PackResult:
    """Counts of pieces, videos and shards, and bytes before and after.

    `num_limited_by_chroma` pieces miss the PSNR only because yuv420p halves the colour resolution; `num_below_psnr`
    pieces miss it even at the lowest CRF. `is_new` is False for a corpus that was packed before.
    """

    out: Path
    num_pieces: int
    num_videos: int
    bytes_before: int
    bytes_after: int
    num_shards: int
    num_limited_by_chroma: int
    num_below_psnr: int
    quarantine: tuple[FileFailure, ...]
    is_new: bool = True


def pack(
    source: str | Path,
    out: str | Path,
    settings: PackSettings | None = None,
    root: str | Path | None = None,
    workers: int = 1,
    on_inspect: Callable[[int, int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    limits: Limits = PIECE_LIMITS,
) -> PackResult:
    """Pack the videos of a folder or list into OUT, or continue an interrupted packing; the originals do not change.

    Args:
        source: a folder or a list of videos.
        out: folder of the packed corpus.
        settings: size, quality and length of the pieces.
        root: folder that the paths of a list are relative to.
        workers: processes that encode.
        on_inspect: called with the files inspected and their total.
        on_progress: called with the pieces encoded and their total.
        limits: seconds and megabytes for one piece. A piece that exceeds them, or crashes its worker process, is
            quarantined.

    Returns:
        Counts of pieces, videos and shards, and bytes before and after.

    Raises:
        InputError: nothing can be packed, or OUT holds something else.
        DiskError: OUT can't be written.

    >>> result = unreel.pack(videos, out, unreel.PackSettings(short_side=32))
    >>> result.num_pieces, result.num_videos
    (24, 24)
    """
    settings, out = settings or PackSettings(), Path(out)
    check_settings(settings, workers)
    plan = PackPlan.make(source, root, settings)
    check_output(plan, out)
    if is_packed_corpus(out):
        shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)  # remains when a packer is killed after its last step
        return replace(summarize_corpus(out), is_new=False)
    try:
        with lock_output(out):
            remove_leftovers(out)
            manifest = load_or_build_manifest(plan, out, on_inspect, limits)
            if not manifest.videos:
                raise InputError(f"{source}: no video in it can be used; `unreel inspect` lists the reasons")
            write_shards(manifest, out, settings, workers, limits, on_progress)
            write_index(manifest, plan, out)
        shutil.rmtree(out / WORK_FOLDER)
    except OSError as error:
        raise DiskError(
            f"{out}: packing stopped ({error.strerror or error}); free space, then run the same command again"
        ) from error
    return summarize_corpus(out)


def load_or_build_manifest(
    plan: PackPlan, out: Path, on_inspect: Callable[[int, int], None] | None, limits: Limits
) -> Manifest:
    """The manifest of the videos to pack; inspected once, so that a continued packing uses the same one."""
    if (out / WORK_FOLDER / PLAN_FILE).is_file():
        return Manifest.load(out / WORK_FOLDER)
    manifest = inspect(plan.source, plan.root, check="fast", on_progress=on_inspect, limits=limits)
    manifest.save(out / WORK_FOLDER)
    atomic_write_bytes(out / WORK_FOLDER / PLAN_FILE, json.dumps(plan.to_json(), indent=2).encode())
    return manifest


def summarize_corpus(out: Path) -> PackResult:
    """The counts of a packed corpus, read from its index."""
    corpus = open_packed_corpus(out)
    target_db, shards = corpus.description["settings"]["psnr_db"], corpus.description["shards"]
    source_bytes = dict(zip(corpus.get_column("source"), corpus.get_column("source_bytes"), strict=True))
    psnr_pairs = list(zip(corpus.get_column("psnr_db"), corpus.get_column("coding_psnr_db"), strict=True))
    return PackResult(
        out=out,
        num_pieces=len(corpus),
        num_videos=len(source_bytes),
        bytes_before=sum(source_bytes.values()),
        bytes_after=sum(os.path.getsize(out / name) for name in shards),
        num_shards=len(shards),
        num_limited_by_chroma=sum(total < target_db <= coding for total, coding in psnr_pairs),
        num_below_psnr=sum(max(pair) < target_db for pair in psnr_pairs),
        quarantine=Manifest.load(out).quarantine,
    )
