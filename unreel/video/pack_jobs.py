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

from unreel.errors import VideoError
from unreel.video import file, packed
from unreel.video.addresses import WORK
from unreel.video.manifest import Manifest, Video
from unreel.video.piece import PackSettings, key_of, make_piece, num_pieces, piece_size, spans
from unreel.video.processes import Ended, Limits, each_done
from unreel.video.shards import Shard, shard_name, write_whole

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """Piece `number` of at most `count` of a video."""

    key: str
    video: Video
    source: str
    number: int
    count: int


def jobs_of(manifest: Manifest, segment_s: float) -> Iterator[Job]:
    """All pieces, in the order of the corpus."""
    for n, video in enumerate(manifest.videos):
        count = num_pieces(video.duration_s, segment_s)
        source = inside(video.path, manifest.root)
        for number in range(count):
            yield Job(key_of(n, number, video.path), video, source, number, count)


def inside(path: str, root: str) -> str:
    """A path relative to the corpus, or whole where it lies outside."""
    relative = os.path.relpath(path, root)
    return path if relative.startswith(os.pardir) else relative


def work_on(job: Job, work: Path, settings: PackSettings) -> Row:
    """Make a piece and leave it in `work` with its row; a row with a reason where it can't be made, {} for no piece."""
    row_file, data_file = work / f"{job.key}.json", work / f"{job.key}.mp4"
    if (row := kept_row(row_file, data_file)) is not None:
        return row
    with contextlib.suppress(OSError):
        data_file.unlink()
    try:
        row = _made(job, data_file, settings)
    except VideoError as error:
        row = _refused(job, error.reason, error.detail)
    write_whole(row_file, json.dumps(row).encode())
    return row


def _made(job: Job, data_file: Path, settings: PackSettings) -> Row:
    video, every = job.video, spans(file.index_frames(job.video.path).times_s, job.count)
    if job.number >= len(every):
        return {}
    span = every[job.number]
    made = make_piece(video.path, data_file, span, piece_size(video.width, video.height, settings.short_side), settings)
    info, data = file.probe(data_file), data_file.read_bytes()
    row = asdict(made) | {
        "key": job.key,
        "size_bytes": len(data),
        "checksum": packed.checksum(data),
        "label": video.label,
        "group": video.group or (job.source if span.count > 1 else ""),
        "source": job.source,
        "fps": info.fps,
        "duration_s": info.duration_s,
        "variable_fps": info.variable_fps,
        "source_hash": video.content_hash,
        "source_bytes": video.size_bytes,
        "whole": span.count == 1,
        "shots": [s - made.start_s for s in video.shot_changes_s if made.start_s < s < made.end_s],
    }
    return row


def _refused(job: Job, reason: str, detail: str) -> Row:
    where = f"piece {job.number + 1} of {job.count}: " if job.count > 1 else ""
    return {"key": job.key, "path": job.video.path, "reason": reason, "detail": where + detail}


def kept_row(row_file: Path, data_file: Path) -> Row | None:
    """The row of a piece that was made before; None when it has to be made, also where it is not whole any more."""
    try:
        row: Row = json.loads(row_file.read_text())
        whole = not row.get("checksum") or packed.checksum(data_file.read_bytes()) == row["checksum"]
        return row if whole else None
    except (OSError, ValueError):
        return None


def gather(
    manifest: Manifest,
    out: Path,
    settings: PackSettings,
    workers: int,
    limits: Limits,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Code all pieces that are not in a finished shard yet, each within the limits, and write the shards."""
    total = sum(num_pieces(video.duration_s, settings.segment_s) for video in manifest.videos)
    done, number = finished(out)
    work, jobs = out / WORK, jobs_of(manifest, settings.segment_s)
    shard, taken = Shard(work / f"{shard_name(number)}.part"), list[Row]()
    count = sum(1 for _ in itertools.islice(jobs, done))
    for job, row in each_done(work_on, jobs, (work, settings), workers, lambda job: limits.reading(job.video.path)):
        if isinstance(row, Ended):
            row = _refused(job, "damaged", row.why)
        if row.get("checksum"):
            if shard.rows and shard.size_bytes + row["size_bytes"] > settings.shard_mb * 1e6:
                close(shard, taken, out, number)
                number, taken = number + 1, []
                shard = Shard(work / f"{shard_name(number)}.part")
            shard.add(row, (work / f"{job.key}.mp4").read_bytes(), about(row))
        taken.append(row | {"key": job.key})
        count += 1
        if on_progress:
            on_progress(count, total)
    if taken:
        close(shard, taken, out, number)


def about(row: Row) -> Row:
    """What stands beside a piece in its shard."""
    names = ("source", "source_hash", "start_s", "end_s", "label", "group")
    return {name: row[name] for name in names}


def close(shard: Shard, taken: Sequence[Row], out: Path, number: int) -> None:
    """Put a shard in its place. Its rows go first: without them it counts for nothing, and with them it is complete."""
    shard.close()
    rows = [row | {"shard": shard_name(number)} if row.get("checksum") else row for row in taken]
    write_whole(out / WORK / f"{shard_name(number)}.rows", json.dumps(rows).encode())
    if shard.rows:
        os.replace(shard.aside, out / shard_name(number))
    for row in taken:
        for ending in (".mp4", ".json"):
            (out / WORK / f"{row['key']}{ending}").unlink(missing_ok=True)


def rows_of(out: Path, number: int) -> list[Row] | None:
    """What a finished shard took, failed pieces among it; None when it is not finished."""
    try:
        rows: list[Row] = json.loads((out / WORK / f"{shard_name(number)}.rows").read_text())
    except (OSError, ValueError):
        return None
    there = not any(row.get("checksum") for row in rows) or (out / shard_name(number)).is_file()
    return rows if there else None


def finished(out: Path) -> tuple[int, int]:
    """How many jobs stand in finished shards, and the number of the first shard that is not."""
    done = number = 0
    while (rows := rows_of(out, number)) is not None:
        done, number = done + len(rows), number + 1
    return done, number
