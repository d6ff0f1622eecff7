"""Shards of a packed corpus: pieces gathered in the order of the corpus; a shard is complete or not there at all.

A finished shard stays as it is when a killed packing continues. A partial one is written again from its pieces.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from unreel.corpus.manifest import Manifest
from unreel.engines.file_jobs import map_jobs
from unreel.io.atomic_write import atomic_write_bytes, move_into_place
from unreel.io.limits import Limits, WorkerFailure
from unreel.packing.jobs import Row, build_failure_row, has_piece, iter_jobs, run_job
from unreel.packing.pack_settings import PackSettings
from unreel.packing.piece_spans import count_pieces
from unreel.packing.tar_writer import TarWriter, format_shard_name
from unreel.video.sources.paths import PIECE_SUFFIX, WORK_FOLDER

_METADATA_KEYS = ("source", "source_hash", "start_s", "end_s", "label", "group")


def write_shards(
    manifest: Manifest,
    out: Path,
    settings: PackSettings,
    workers: int,
    limits: Limits,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Encode all pieces that are not in a finished shard yet, each within the limits, and write the shards."""
    num_jobs = sum(count_pieces(video.duration_s, settings.segment_s) for video in manifest.videos)
    num_finished, shard_number = count_finished(out)
    work, jobs = out / WORK_FOLDER, iter_jobs(manifest, settings.segment_s)
    num_done = sum(1 for _ in itertools.islice(jobs, num_finished))
    shard, rows = _open_shard(work, shard_number), list[Row]()
    for job, row in map_jobs(
        run_job, jobs, (work, settings), workers, lambda job: limits.scale_to_file(job.video.path)
    ):
        if isinstance(row, WorkerFailure):
            row = build_failure_row(job, "damaged", row.detail)
        if has_piece(row):
            if shard.rows and shard.size_bytes + row["size_bytes"] > settings.shard_mb * 1e6:
                finish_shard(shard, rows, out, shard_number)
                shard_number, rows = shard_number + 1, []
                shard = _open_shard(work, shard_number)
            shard.add_piece(row, (work / f"{job.key}{PIECE_SUFFIX}").read_bytes(), select_metadata(row))
        rows.append(row | {"key": job.key})
        num_done += 1
        if on_progress:
            on_progress(num_done, num_jobs)
    if rows:
        finish_shard(shard, rows, out, shard_number)


def _open_shard(work_folder: Path, number: int) -> TarWriter:
    return TarWriter(work_folder / f"{format_shard_name(number)}.part")


def select_metadata(row: Row) -> Row:
    """The content of the JSON file beside a piece in its shard."""
    return {name: row[name] for name in _METADATA_KEYS}


def finish_shard(shard: TarWriter, shard_rows: Sequence[Row], out: Path, shard_number: int) -> None:
    """Move a shard into OUT. Its rows are written before: a shard without rows does not count."""
    shard.close()
    name = format_shard_name(shard_number)
    rows = [row | {"shard": name} if has_piece(row) else row for row in shard_rows]
    atomic_write_bytes(out / WORK_FOLDER / f"{name}.rows", json.dumps(rows).encode())
    if shard.rows:
        move_into_place(shard.temporary_path, out / name)
    for row in shard_rows:
        for suffix in (PIECE_SUFFIX, ".json"):
            (out / WORK_FOLDER / f"{row['key']}{suffix}").unlink(missing_ok=True)


def read_shard_rows(out: Path, shard_number: int) -> list[Row] | None:
    """The rows of a finished shard, with its failed pieces; None when it is not finished."""
    name = format_shard_name(shard_number)
    try:
        rows: list[Row] = json.loads((out / WORK_FOLDER / f"{name}.rows").read_text())
    except (OSError, ValueError):
        return None
    is_complete = not any(map(has_piece, rows)) or (out / name).is_file()
    return rows if is_complete else None


def count_finished(out: Path) -> tuple[int, int]:
    """The number of jobs in finished shards, and the number of the first unfinished shard."""
    num_jobs = shard_number = 0
    while (rows := read_shard_rows(out, shard_number)) is not None:
        num_jobs, shard_number = num_jobs + len(rows), shard_number + 1
    return num_jobs, shard_number
