"""The pieces of a corpus as jobs: coded in any number of processes, gathered into shards in their own order.

What a job made lies in OUT/.packing until it stands in a shard. So what comes out is the same for any number of
processes and whatever was killed: finished shards stay, a half-written one is written again out of its pieces.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unreel.corpus.manifest import Manifest, Video
from unreel.errors import VideoError
from unreel.io.atomic_write import atomic_write_bytes
from unreel.io.worker_pool import Limits, WorkerFailure, map_jobs
from unreel.packing.piece_encoder import (
    PackSettings,
    build_key,
    compute_piece_size,
    count_pieces,
    encode_piece,
    split_into_spans,
)
from unreel.packing.tar_writer import TarWriter, format_shard_name
from unreel.video.decoding import decoder
from unreel.video.sources import packed_corpus
from unreel.video.sources.paths import WORK_FOLDER

Row = dict[str, Any]


@dataclass(frozen=True)
class PieceJob:
    """Piece `number` of at most `count` of a video."""

    key: str
    video: Video
    source: str
    piece_number: int
    max_pieces: int


def iter_jobs(manifest: Manifest, segment_s: float) -> Iterator[PieceJob]:
    """All pieces, in the order of the corpus."""
    for n, video in enumerate(manifest.videos):
        count = count_pieces(video.duration_s, segment_s)
        source = relative_to_root(video.path, manifest.root)
        for number in range(count):
            yield PieceJob(build_key(n, number, video.path), video, source, number, count)


def relative_to_root(path: str, root: str) -> str:
    """A path relative to the corpus, or whole where it lies outside."""
    relative = os.path.relpath(path, root)
    return path if relative.startswith(os.pardir) else relative


def run_job(job: PieceJob, work_folder: Path, settings: PackSettings) -> Row:
    """Make a piece and leave it in `work` with its row; a row with a reason where it can't be made, {} for no piece."""
    row_file, data_file = work_folder / f"{job.key}.json", work_folder / f"{job.key}.mp4"
    if (row := load_finished_row(row_file, data_file)) is not None:
        return row
    with contextlib.suppress(OSError):
        data_file.unlink()
    try:
        row = _encode_piece_row(job, data_file, settings)
    except VideoError as error:
        row = _build_failure_row(job, error.reason, error.detail)
    atomic_write_bytes(row_file, json.dumps(row).encode())
    return row


def _encode_piece_row(job: PieceJob, data_file: Path, settings: PackSettings) -> Row:
    video, every = job.video, split_into_spans(decoder.index_frames(job.video.path).times_s, job.max_pieces)
    if job.piece_number >= len(every):
        return {}
    span = every[job.piece_number]
    made = encode_piece(
        video.path, data_file, span, compute_piece_size(video.width, video.height, settings.short_side), settings
    )
    info, data = decoder.probe(data_file), data_file.read_bytes()
    row = asdict(made) | {
        "key": job.key,
        "size_bytes": len(data),
        "checksum": packed_corpus.hash_bytes(data),
        "label": video.label,
        "group": video.group or (job.source if span.num_pieces > 1 else ""),
        "source": job.source,
        "fps": info.fps,
        "duration_s": info.duration_s,
        "variable_fps": info.variable_fps,
        "source_hash": video.content_hash,
        "source_bytes": video.size_bytes,
        "whole": span.num_pieces == 1,
        "shots": [s - made.start_s for s in video.shot_changes_s if made.start_s < s < made.end_s],
    }
    return row


def _build_failure_row(job: PieceJob, reason: str, detail: str) -> Row:
    where = f"piece {job.piece_number + 1} of {job.max_pieces}: " if job.max_pieces > 1 else ""
    return {"key": job.key, "path": job.video.path, "reason": reason, "detail": where + detail}


def load_finished_row(row_file: Path, data_file: Path) -> Row | None:
    """The row of a piece that was made before; None when it has to be made, also where it is not whole any more."""
    try:
        row: Row = json.loads(row_file.read_text())
        whole = not row.get("checksum") or packed_corpus.hash_bytes(data_file.read_bytes()) == row["checksum"]
        return row if whole else None
    except (OSError, ValueError):
        return None


def write_shards(
    manifest: Manifest,
    out: Path,
    settings: PackSettings,
    workers: int,
    limits: Limits,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Code all pieces that are not in a finished shard yet, each within the limits, and write the shards."""
    total = sum(count_pieces(video.duration_s, settings.segment_s) for video in manifest.videos)
    done, number = count_finished(out)
    work, jobs = out / WORK_FOLDER, iter_jobs(manifest, settings.segment_s)
    shard, taken = TarWriter(work / f"{format_shard_name(number)}.part"), list[Row]()
    count = sum(1 for _ in itertools.islice(jobs, done))
    for job, row in map_jobs(
        run_job, jobs, (work, settings), workers, lambda job: limits.scale_to_file(job.video.path)
    ):
        if isinstance(row, WorkerFailure):
            row = _build_failure_row(job, "damaged", row.reason)
        if row.get("checksum"):
            if shard.rows and shard.size_bytes + row["size_bytes"] > settings.shard_mb * 1e6:
                finish_shard(shard, taken, out, number)
                number, taken = number + 1, []
                shard = TarWriter(work / f"{format_shard_name(number)}.part")
            shard.add_piece(row, (work / f"{job.key}.mp4").read_bytes(), select_metadata(row))
        taken.append(row | {"key": job.key})
        count += 1
        if on_progress:
            on_progress(count, total)
    if taken:
        finish_shard(shard, taken, out, number)


def select_metadata(row: Row) -> Row:
    """What stands beside a piece in its shard."""
    names = ("source", "source_hash", "start_s", "end_s", "label", "group")
    return {name: row[name] for name in names}


def finish_shard(shard: TarWriter, shard_rows: Sequence[Row], out: Path, shard_number: int) -> None:
    """Put a shard in its place. Its rows go first: without them it counts for nothing, and with them it is complete."""
    shard.close()
    rows = [row | {"shard": format_shard_name(shard_number)} if row.get("checksum") else row for row in shard_rows]
    atomic_write_bytes(out / WORK_FOLDER / f"{format_shard_name(shard_number)}.rows", json.dumps(rows).encode())
    if shard.rows:
        os.replace(shard.temporary_path, out / format_shard_name(shard_number))
    for row in shard_rows:
        for ending in (".mp4", ".json"):
            (out / WORK_FOLDER / f"{row['key']}{ending}").unlink(missing_ok=True)


def read_shard_rows(out: Path, shard_number: int) -> list[Row] | None:
    """What a finished shard took, failed pieces among it; None when it is not finished."""
    try:
        rows: list[Row] = json.loads((out / WORK_FOLDER / f"{format_shard_name(shard_number)}.rows").read_text())
    except (OSError, ValueError):
        return None
    there = not any(row.get("checksum") for row in rows) or (out / format_shard_name(shard_number)).is_file()
    return rows if there else None


def count_finished(out: Path) -> tuple[int, int]:
    """How many jobs stand in finished shards, and the number of the first shard that is not."""
    done = number = 0
    while (rows := read_shard_rows(out, number)) is not None:
        done, number = done + len(rows), number + 1
    return done, number
