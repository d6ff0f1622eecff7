"""Rewriting a corpus once into pieces that are cheap to train from: planned, coded in parallel, gathered into shards.

Every piece is a job of its own whose result lies in OUT/.packing until it stands in a shard. Pieces enter the shards in
the order of the corpus, so what comes out is the same for any number of processes, and whatever was killed on the way:
finished shards stay, a half-written one is written again out of its pieces.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import DiskError, InputError, VideoError
from unreel.video import file, packed
from unreel.video.layouts import LIST_SUFFIXES, find_videos
from unreel.video.manifest import Manifest, Quarantined, Video, inspect
from unreel.video.packed import WORK
from unreel.video.piece import PackSettings, key_of, make_piece, num_pieces, piece_size, spans
from unreel.video.processes import each_done
from unreel.video.shards import Shard, shard_name, write_whole

PLAN = "plan.json"
MAX_LIST_BYTES = 64 * 2**20
Row = dict[str, Any]


@dataclass(frozen=True)
class Packed:
    """What packing came to: pieces and originals, bytes before and after.

    `halved_colour` pieces are below the PSNR for what yuv420p alone costs, `unmet` at the best quality there is.
    """

    out: Path
    pieces: int
    videos: int
    bytes_before: int
    bytes_after: int
    shards: int
    halved_colour: int
    unmet: int
    quarantine: tuple[Quarantined, ...]
    fresh: bool = True


@dataclass(frozen=True)
class Job:
    """Piece `number` of at most `count` of a video."""

    key: str
    video: Video
    source: str
    number: int
    count: int


def pack(
    source: str | Path,
    out: str | Path,
    settings: PackSettings | None = None,
    root: str | Path | None = None,
    workers: int = 1,
    on_inspect: Callable[[int, int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Pack the videos of a folder or list into OUT, or go on with what was stopped; the originals stay as they are.

    Raises InputError when nothing can be packed or OUT holds something else, DiskError when it can't be written.
    """
    settings, out = settings or PackSettings(), Path(out)
    check_settings(settings, workers)
    asked = fingerprint(Path(source), root)
    refuse_other(Path(source), out, settings, asked)
    if packed.is_packed(out):
        return replace(summary_of(out), fresh=False)
    try:
        with locked(out):
            manifest = planned(Path(source), out, settings, root, asked, on_inspect)
            if not manifest.videos:
                raise InputError(f"{source}: no video there can be used; `unreel inspect` tells the reasons")
            gather(manifest, out, settings, workers, on_progress)
            finish(manifest, Path(source), out, settings, asked)
        shutil.rmtree(out / WORK)
    except OSError as error:
        raise DiskError(f"{out}: packing stopped ({error.strerror or error}); make room and run it again") from error
    return summary_of(out)


def check_settings(settings: PackSettings, workers: int) -> None:
    """Raises InputError for what can't be."""
    if settings.short_side < 16 or settings.short_side % 2:
        raise InputError(f"--short-side must be even and at least 16, got {settings.short_side}")
    bounds = {"gop": (1, 600), "crf": (1, 51), "psnr_db": (0, 60), "segment_s": (1, 1e6), "shard_mb": (0.01, 1e6)}
    for name, (least, most) in bounds.items():
        if not least <= getattr(settings, name) <= most:
            option = name.replace("_", "-")
            raise InputError(f"--{option} must lie between {least:g} and {most:g}, got {getattr(settings, name):g}")
    if workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")


def fingerprint(source: Path, root: str | Path | None) -> str:
    """Names, sizes and times of change of everything that is to be packed: other files, another text."""
    if packed.is_remote(source) or packed.is_packed(source):
        raise InputError(f"{source}: packed already, or from afar; give the folder or list of the videos themselves")
    digest = hashlib.blake2b(digest_size=16)
    for item in find_videos(source, Path(root) if root else None):
        with contextlib.suppress(OSError):
            status = os.stat(item.path)
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        digest.update(f"{os.path.abspath(item.path)}\t{item.label}\t{item.group}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def refuse_other(source: Path, out: Path, settings: PackSettings, asked: str) -> None:
    """Raises InputError when OUT is no place for this corpus: other files, another corpus, other settings."""
    if packed.is_remote(out):
        raise InputError(f"{out}: pack into a folder of this machine, then copy it there with the store's own tool")
    real = Path(os.path.realpath(out))
    if source.is_dir() and (real == Path(os.path.realpath(source)) or Path(os.path.realpath(source)) in real.parents):
        raise InputError(f"{out} lies in {source}, which stays as it is; choose a folder elsewhere")
    if not out.exists() or (out.is_dir() and not set(os.listdir(out)) - {WORK} and not (out / WORK / PLAN).exists()):
        return
    place = next((p for p in (out / packed.PACK, out / WORK / PLAN) if p.is_file()), None)
    if place is None:
        raise InputError(f"{out} exists already and is no packed corpus; nothing was changed. Choose another folder")
    try:
        held = json.loads(place.read_text(encoding="utf-8"))
        before, whose, files = held["settings"], held["source"], held["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place}: can't be read ({error}); choose another folder") from error
    if whose != os.path.abspath(source):
        raise InputError(f"{out} holds what was packed of {whose}; choose another folder for {source}")
    other = [name for name, value in asdict(settings).items() if before.get(name) != value]
    if other:
        said = ", ".join(f"{name.replace('_', '-')} {before.get(name)}" for name in other)
        raise InputError(f"{out} was packed with other settings ({said}); choose another folder, or give the same")
    if files != asked:
        raise InputError(f"{source} has changed since it was packed into {out}; choose another folder")


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """One process alone packs into OUT. Raises InputError when another does.

    A POSIX lock: unlike one of flock, it is not held on by coding processes that outlive a killed parent for a moment.
    """
    (out / WORK).mkdir(parents=True, exist_ok=True)
    with (out / WORK / "lock").open("w") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{out}: another unreel packs into it; wait for it or choose another folder") from error
        yield


def planned(
    source: Path,
    out: Path,
    settings: PackSettings,
    root: str | Path | None,
    asked: str,
    on_inspect: Callable[[int, int], None] | None,
) -> Manifest:
    """What is to be packed, found out once: packing that goes on takes it as it was."""
    if (out / WORK / PLAN).is_file():
        return Manifest.load(out / WORK)
    manifest = inspect(source, Path(root) if root else None, check="fast", on_progress=on_inspect)
    manifest.save(out / WORK)
    plan = {"settings": asdict(settings), "source": os.path.abspath(source), "files": asked}
    write_whole(out / WORK / PLAN, json.dumps(plan, indent=2).encode())
    return manifest


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
        row = {"key": job.key, "path": job.video.path, "reason": error.reason, "detail": _where(job) + error.detail}
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


def _where(job: Job) -> str:
    return f"piece {job.number + 1} of {job.count}: " if job.count > 1 else ""


def kept_row(row_file: Path, data_file: Path) -> Row | None:
    """The row of a piece that was made before; None when it has to be made."""
    try:
        row: Row = json.loads(row_file.read_text())
        return row if not row.get("checksum") or data_file.stat().st_size == row["size_bytes"] else None
    except (OSError, ValueError):
        return None


def gather(
    manifest: Manifest,
    out: Path,
    settings: PackSettings,
    workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Code all pieces that are not in a finished shard yet, and write the shards."""
    total = sum(num_pieces(video.duration_s, settings.segment_s) for video in manifest.videos)
    done, number = finished(out)
    work, jobs = out / WORK, jobs_of(manifest, settings.segment_s)
    shard, taken = Shard(work / f"{shard_name(number)}.part"), list[Row]()
    count = sum(1 for _ in itertools.islice(jobs, done))
    for job, row in each_done(work_on, jobs, (work, settings), workers):
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


INDEX_TYPES = {
    "key": pa.string(),
    "shard": pa.string(),
    "offset": pa.int64(),
    "size_bytes": pa.int64(),
    "checksum": pa.string(),
    "label": pa.string(),
    "group": pa.string(),
    "source": pa.string(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "fps": pa.float64(),
    "num_frames": pa.int64(),
    "duration_s": pa.float64(),
    "psnr_db": pa.float64(),
    "coding_psnr_db": pa.float64(),
    "crf": pa.int32(),
    "source_hash": pa.string(),
    "source_bytes": pa.int64(),
    "whole": pa.bool_(),
}


def finish(manifest: Manifest, source: Path, out: Path, settings: PackSettings, asked: str) -> None:
    """Index, manifest, lists, and last of all pack.json, which makes it a packed corpus."""
    _, shards = finished(out)
    every = [row for number in range(shards) for row in rows_of(out, number) or []]
    rows = [row for row in every if row.get("checksum")]
    if not rows:
        raise InputError(f"{source}: none of the videos could be packed; the first: {every[0]['reason']}")
    bad = [Quarantined(row["path"], row["reason"], row["detail"]) for row in every if row.get("reason")]
    after_packing(manifest, rows, bad).save(out)
    schema = pa.schema(list(INDEX_TYPES.items()))
    columns = [{name: row[name] for name in INDEX_TYPES} for row in rows]
    aside = out / WORK / packed.INDEX
    pq.write_table(pa.Table.from_pylist(columns, schema), aside)
    aside.replace(out / packed.INDEX)
    quarantined = [inside(q.path, manifest.root) for q in (*manifest.quarantine, *bad)]
    told = {
        "layout": packed.VERSION,
        "pieces": len(rows),
        "shards": sorted({row["shard"] for row in rows}),
        "settings": asdict(settings),
        "source": os.path.abspath(source),
        "root": manifest.root,
        "files": asked,
        "lists": copied_lists(source, Path(manifest.root), out),
        "unpacked": sorted(set(quarantined) - {row["source"] for row in rows}),
        "versions": {"unreel": unreel_version(), "av": version("av")},
    }
    write_whole(out / packed.PACK, json.dumps(told, indent=2, ensure_ascii=False).encode())


def unreel_version() -> str:
    from unreel import __version__

    return __version__


def after_packing(manifest: Manifest, rows: Sequence[Row], bad: Sequence[Quarantined]) -> Manifest:
    """The manifest of the pieces; their paths are relative to the packed corpus, so that it may be moved."""
    paths = {(row["source"], row["start_s"]): f"{row['shard']}#{row['key']}{packed.ENDING}" for row in rows}
    first = {
        inside(v.path, manifest.root): inside(v.duplicate_of, manifest.root) for v in manifest.videos if v.duplicate_of
    }
    videos = [
        Video(
            path=f"{row['shard']}#{row['key']}{packed.ENDING}",
            codec="h264",
            rotation=0,
            content_hash=row["checksum"],
            duplicate_of=paths.get((first.get(row["source"], ""), row["start_s"]), ""),
            shot_changes_s=tuple(row["shots"]),
            recording=row["source"],
            offset_s=row["start_s"],
            **{name: row[name] for name in ("width", "height", "fps", "num_frames", "duration_s", "variable_fps")},
            **{name: row[name] for name in ("size_bytes", "label", "group")},
        )
        for row in rows
    ]
    return Manifest(".", tuple(videos), (*manifest.quarantine, *bad))


def copied_lists(source: Path, root: Path, out: Path) -> list[str]:
    """Lists and annotations that lie among the videos, copied to OUT/lists; their places in the corpus."""
    names = []
    places = [source] if source.is_file() else []
    places += sorted(p for depth in ("*", "*/*") for p in root.glob(depth)) if source.is_dir() else []
    for place in places:
        if place.suffix.lower() not in LIST_SUFFIXES | {".json"} or not place.is_file():
            continue
        if place.stat().st_size <= MAX_LIST_BYTES:
            name = place.relative_to(root).as_posix() if place.is_relative_to(root) else place.name
            (out / packed.LISTS / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, out / packed.LISTS / name)
            names.append(name)
    return names


def summary_of(out: Path) -> Packed:
    """What a packed corpus says of its making."""
    corpus = packed.open_corpus(out)
    wanted_db, shards = corpus.about["settings"]["psnr_db"], corpus.about["shards"]
    before = dict(zip(corpus.column("source"), corpus.column("source_bytes"), strict=True))
    reached = list(zip(corpus.column("psnr_db"), corpus.column("coding_psnr_db"), strict=True))
    return Packed(
        out=out,
        pieces=len(corpus),
        videos=len(before),
        bytes_before=sum(before.values()),
        bytes_after=sum(os.path.getsize(out / name) for name in shards),
        shards=len(shards),
        halved_colour=sum(whole < wanted_db <= coding for whole, coding in reached),
        unmet=sum(max(pair) < wanted_db for pair in reached),
        quarantine=Manifest.load(out).quarantine,
    )
