"""What is in a folder of videos: every file probed, decoded and hashed once; what can't be used, and why."""

import os
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from unreel.corpus.discovery import find_videos
from unreel.corpus.lists import VideoEntry
from unreel.corpus.manifest import _SCHEMA, MANIFEST_FILE, QUARANTINE_FILE, Manifest, Video
from unreel.corpus.manifest_summary import group_by_reason
from unreel.corpus.segments import LONG_VIDEO_SEGMENTS, SEGMENT_S
from unreel.corpus.shot_detection import detect_shot_changes
from unreel.errors import InputError, VideoError
from unreel.io.limits import Limits, WorkerFailure, get_limits
from unreel.io.text import format_path
from unreel.io.worker_pool import map_jobs
from unreel.types import FileFailure
from unreel.video.decoding.probe import check_decodable, probe
from unreel.video.sources.packed_corpus import open_packed_corpus, read_corpus_file
from unreel.video.sources.paths import INDEX_FILE, absolute_path, is_packed_corpus
from unreel.video.sources.piece_check import find_damaged_pieces
from unreel.video.sources.source import open_source

CheckDepth = Literal["auto", "full", "fast"]


FULL_CHECK_S = 60.0  # `auto` decodes videos up to this long to the end


def inspect(
    source: Path,
    root: Path | None = None,
    min_frames: int = 2,
    check: CheckDepth = "auto",
    shots: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    limits: Limits | None = None,
) -> Manifest:
    """Probe, decode and hash every video of a folder or list; one that can't be used is quarantined with the reason.

    Of a packed corpus its own manifest is taken; `full` then compares every piece with its checksum, else no more is
    looked at than whether each shard on this disk is as long as it should be.

    `full` decodes every frame, `fast` the start, middle and end, `auto` every frame of videos of up to 60 s and the
    start, middle and end of longer ones. With `shots`, shot changes of videos longer than 15 s are found (see
    segments.py). Files are read in `workers` processes; one that ends its process, or does not come to an end within
    the limits, is quarantined as damaged. Raises InputError if there is nothing to look at.
    """
    if is_packed_corpus(source):
        return load_packed_manifest(source, check == "full", on_progress)
    listed = find_videos(Path(source), root)
    base = Path(source) if Path(source).is_dir() else Path(root or Path(source).parent)
    found: list[Video | FileFailure] = []
    workers = workers or min(8, os.cpu_count() or 1)
    for item, row in map_jobs(
        _inspect_file,
        listed,
        (min_frames, check, shots),
        workers,
        lambda item: (limits or get_limits()).scale_to_file(item.path),
    ):
        found.append(
            FileFailure(absolute_path(item.path), "damaged", row.detail) if isinstance(row, WorkerFailure) else row
        )
        if on_progress:
            on_progress(len(found), len(listed))
    videos = _mark_duplicates([row for row in found if isinstance(row, Video)])
    return Manifest(os.path.abspath(base), videos, tuple(row for row in found if isinstance(row, FileFailure)))


def load_packed_manifest(
    source: str | Path, verify_checksums: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> Manifest:
    """The manifest of a packed corpus, its paths the addresses of pieces; pieces that are cut off are quarantined."""
    corpus = open_packed_corpus(source)
    try:
        kept = Manifest.parse(*(read_corpus_file(corpus.root, name) for name in (MANIFEST_FILE, QUARANTINE_FILE)))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{corpus.root}: the packed corpus has no manifest that can be read ({error})") from error
    if len(kept.videos) != len(corpus):
        raise InputError(f"{corpus.root}: {INDEX_FILE} has {len(corpus)} pieces, {MANIFEST_FILE} {len(kept.videos)}")
    bad = find_damaged_pieces(corpus, verify_checksums, on_progress)
    at = {video.path: f"{corpus.root}/{video.path}" for video in kept.videos}
    videos = [replace(v, path=at[v.path], duplicate_of=at.get(v.duplicate_of, "")) for v in kept.videos]
    lost = [FileFailure.from_error(bad[v.path]) for v in videos if v.path in bad]
    return Manifest(corpus.root, tuple(v for v in videos if v.path not in bad), (*kept.quarantine, *lost))


def _inspect_file(entry: VideoEntry, min_frames: int, check: CheckDepth, shots: bool) -> Video | FileFailure:
    path = absolute_path(entry.path)
    try:
        path.encode()
        return _probe_video(path, entry, min_frames, check, shots)
    except UnicodeEncodeError:
        return FileFailure(format_path(path), "unreadable", "the file's name is not UTF-8; rename it")
    except VideoError as error:
        return FileFailure.from_error(error)
    except OSError as error:
        return FileFailure(path, "unreadable", error.strerror or str(error))


def _probe_video(path: str, entry: VideoEntry, min_frames: int, check: CheckDepth, shots: bool) -> Video:
    """One row of the manifest. Raises VideoError."""
    info = probe(path)
    if info.num_frames < min_frames:
        raise VideoError(path, "too short", f"{info.num_frames} of at least {min_frames} frames")
    check_decodable(path, all_frames=check == "full" or (check == "auto" and info.duration_s <= FULL_CHECK_S))
    changes = detect_shot_changes(path) if shots and info.duration_s > LONG_VIDEO_SEGMENTS * SEGMENT_S else []
    about = {f.name: getattr(info, f.name) for f in fields(info) if f.name in _SCHEMA.names}
    about |= {
        "content_hash": open_source(path).hash_content(),
        "shot_changes_s": tuple(changes),
        "label": entry.label,
        "group": entry.group,
    }
    return Video(path=path, **about)


def _mark_duplicates(videos: Sequence[Video]) -> tuple[Video, ...]:
    first: dict[str, str] = {}
    originals = [first.setdefault(video.content_hash, video.path) for video in videos]
    return tuple(
        replace(video, duplicate_of=original if original != video.path else "")
        for video, original in zip(videos, originals, strict=True)
    )


def require_usable(manifest: Manifest, max_bad_share: float, option: str = "--max-bad-share") -> None:
    """Raises InputError if no video is left, or if more than `max_bad_share` (0 to 1) of the files is quarantined."""
    num_bad = len(manifest.quarantine)
    total = num_bad + len(manifest.videos)
    if manifest.videos and num_bad <= max_bad_share * total:
        return
    reasons = ", ".join(f"{len(paths)} {reason}" for reason, paths in group_by_reason(manifest.quarantine).items())
    first = f"; first: {format_path(manifest.quarantine[0].path)}" if manifest.quarantine else ""
    if not manifest.videos:
        raise InputError(f"{manifest.root}: none of {total} files can be used ({reasons}{first})")
    raise InputError(
        f"{manifest.root}: {num_bad} of {total} files can't be used ({reasons}{first}), more than the share of "
        f"{max_bad_share:g} that is allowed. `unreel inspect` lists them all; mend or remove them, or raise {option}"
    )
