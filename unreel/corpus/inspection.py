"""Inspecting a corpus: every file is probed, decoded and hashed once; files that can't be used get a reason."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from unreel.corpus.discovery import find_videos
from unreel.corpus.lists import VideoEntry
from unreel.corpus.manifest import DAMAGE_ERRORS, MANIFEST_FILE, QUARANTINE_FILE, Manifest
from unreel.corpus.manifest_summary import group_by_reason
from unreel.corpus.segments import LONG_VIDEO_SEGMENTS, SEGMENT_S
from unreel.corpus.shot_detection import detect_shot_changes
from unreel.engines.file_jobs import map_jobs, require_seen_by_workers
from unreel.errors import InputError, VideoError
from unreel.io.limits import Limits, WorkerFailure, get_limits
from unreel.io.text import format_path
from unreel.rows.columns import count_different
from unreel.rows.video_rows import Video
from unreel.types import FileFailure
from unreel.video.decoding.probe import check_decodable, probe
from unreel.video.sources.packed_corpus import open_packed_corpus, read_corpus_file
from unreel.video.sources.paths import INDEX_FILE, absolute_path, is_packed_corpus, is_synthetic, normalize_path
from unreel.video.sources.piece_check import find_damaged_pieces
from unreel.video.sources.source import open_source
from unreel.video.synthetic.drawn_video import parse_address

CheckDepth = Literal["auto", "full", "fast"]
FULL_CHECK_S = 60.0  # "auto" decodes every frame of videos up to this length


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

    A packed corpus has its own manifest: "full" compares every piece with its checksum; otherwise only the length of
    the shards on this disk is checked.

    Args:
        source: a video, a folder, a list of videos, a packed corpus, or synthetic://all for drawn videos.
        root: folder that the paths of a list are relative to; by default the folder of the list.
        min_frames: videos with fewer frames are quarantined as too short.
        check: what to decode: "full" every frame; "fast" the start, middle and end; "auto" every frame of videos of up
            to 60 s, and the start, middle and end of longer ones.
        shots: detect the shot changes of videos longer than 15 s (see segments.py).
        on_progress: called with the files done and their total.
        workers: processes that read the files; by default one per core, at most 8.
        limits: seconds and megabytes for one file. A file that exceeds them, or crashes its process, is quarantined as
            damaged.

    Returns:
        The usable videos and the quarantined files, in the order they were found, and what was left aside by suffix.

    Raises:
        InputError: there is no video.

    >>> manifest = unreel.inspect(videos)
    >>> len(manifest.videos), manifest.quarantine
    (24, ())
    """
    if is_synthetic(source):
        return list_synthetic_videos(source)
    if is_packed_corpus(source):
        return load_packed_manifest(source, check == "full", on_progress)
    left_aside: Counter[str] = Counter()
    entries = find_videos(Path(source), root, left_aside)
    results = []
    for result in inspect_files(entries, min_frames, check, shots, workers, limits):
        results.append(result)
        if on_progress:
            on_progress(len(results), len(entries))
    return collect_manifest(find_base_folder(source, root), results, left_aside)


def inspect_files(
    entries: Sequence[VideoEntry],
    min_frames: int = 2,
    check: CheckDepth = "auto",
    shots: bool = True,
    workers: int | None = None,
    limits: Limits | None = None,
) -> Iterator[Video | FileFailure]:
    """A row of the manifest or a failure for each file, in order, as soon as it is known; arguments as in `inspect`."""
    workers = workers or min(8, os.cpu_count() or 1)
    file_limits = limits or get_limits()
    results = map_jobs(
        _inspect_file, entries, (min_frames, check, shots), workers, lambda entry: file_limits.scale_to_file(entry.path)
    )
    for entry, result in results:
        if isinstance(result, WorkerFailure):
            result = FileFailure(absolute_path(entry.path), "damaged", result.detail, result.exceeded_limits)
        if isinstance(result, FileFailure) and result.reason == "missing":
            require_seen_by_workers(result.path)
        yield result


def find_base_folder(source: str | Path, root: Path | None = None) -> str:
    """The absolute path of the folder that the paths of a source are shown relative to."""
    return os.path.abspath(source if Path(source).is_dir() else Path(root or Path(source).parent))


def collect_manifest(base: str, results: Sequence[Video | FileFailure], left_aside: Mapping[str, int]) -> Manifest:
    """The manifest of inspected files, with duplicates marked."""
    videos = [result for result in results if isinstance(result, Video)]
    failures = tuple(result for result in results if isinstance(result, FileFailure))
    return Manifest(base, _mark_duplicates(videos), failures, dict(left_aside))


def list_synthetic_videos(source: str | Path) -> Manifest:
    """The manifest of synthetic videos, none of which is drawn for it. Raises InputError for an unknown property."""
    parse_address(str(source))
    columns = {field.name for field in fields(Video)}
    videos = []
    for entry in find_videos(Path(source)):
        path = normalize_path(entry.path)
        info = {name: value for name, value in vars(probe(path)).items() if name in columns}
        videos.append(Video(path=path, **info, content_hash=open_source(path).hash_content()))
    return Manifest(normalize_path(source), tuple(videos))


def load_packed_manifest(
    source: str | Path, verify_checksums: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> Manifest:
    """The manifest of a packed corpus, with the full paths of its pieces; truncated pieces are quarantined."""
    corpus = open_packed_corpus(source)
    try:
        parquet, quarantine = (read_corpus_file(corpus.root, name) for name in (MANIFEST_FILE, QUARANTINE_FILE))
        manifest = Manifest.parse(io.BytesIO(parquet), quarantine)
    except DAMAGE_ERRORS as error:
        raise InputError(f"{corpus.root}: the manifest of the packed corpus can't be read ({error})") from error
    if len(manifest.videos) != len(corpus):
        counts = f"{INDEX_FILE} has {len(corpus)} pieces, {MANIFEST_FILE} {len(manifest.videos)}"
        raise InputError(f"{corpus.root}: {counts}; copy the corpus again")
    errors = find_damaged_pieces(corpus, verify_checksums, on_progress)
    paths = {video.path: f"{corpus.root}/{video.path}" for video in manifest.videos}
    videos = [replace(v, path=paths[v.path], duplicate_of=paths.get(v.duplicate_of, "")) for v in manifest.videos]
    usable = tuple(video for video in videos if video.path not in errors)
    damaged = [FileFailure.from_error(errors[video.path]) for video in videos if video.path in errors]
    return Manifest(corpus.root, usable, (*manifest.quarantine, *damaged), manifest.left_aside)


def _inspect_file(entry: VideoEntry, min_frames: int, check: CheckDepth, shots: bool) -> Video | FileFailure:
    path = absolute_path(entry.path)
    try:
        path.encode()
        return _build_video(path, entry, min_frames, check, shots)
    except UnicodeEncodeError:
        return FileFailure(format_path(path), "unreadable", "the file's name is not UTF-8; rename it")
    except VideoError as error:
        return FileFailure.from_error(error)
    except OSError as error:
        return FileFailure(path, "unreadable", error.strerror or str(error))


def _build_video(path: str, entry: VideoEntry, min_frames: int, check: CheckDepth, shots: bool) -> Video:
    """One row of the manifest. Raises VideoError."""
    info = probe(path)
    if info.num_frames < min_frames:
        raise VideoError(path, "too short", f"{info.num_frames} of at least {min_frames} frames")
    check_decodable(path, all_frames=check == "full" or (check == "auto" and info.duration_s <= FULL_CHECK_S))
    shot_changes_s = detect_shot_changes(path) if shots and info.duration_s > LONG_VIDEO_SEGMENTS * SEGMENT_S else []
    columns = {field.name for field in fields(Video)}
    return Video(
        path=path,
        **{field.name: getattr(info, field.name) for field in fields(info) if field.name in columns},
        content_hash=open_source(path).hash_content(),
        shot_changes_s=tuple(shot_changes_s),
        label=entry.label,
        group=entry.group,
    )


def _mark_duplicates(videos: Sequence[Video]) -> tuple[Video, ...]:
    """The videos with `duplicate_of` set where an earlier one has the same bytes."""
    first: dict[str, str] = {}
    originals = [first.setdefault(video.content_hash, video.path) for video in videos]
    return tuple(
        replace(video, duplicate_of=original if original != video.path else "")
        for video, original in zip(videos, originals, strict=True)
    )


def count_files(manifest: Manifest) -> int:
    """The files of a manifest, the quarantined ones too, each once."""
    paths, bad = manifest.rows.get_column("path"), {failure.path for failure in manifest.quarantine}
    also_usable = paths.filter(pc.is_in(paths, pa.array(bad, pa.string()))).to_pylist()
    return count_different(paths) + len(bad.difference(also_usable))


def require_usable(manifest: Manifest, max_bad_share: float, option: str = "--max-bad-share") -> None:
    """Raise InputError if no video is left, or if more than `max_bad_share` (0 to 1) of the files is quarantined."""
    num_bad = len(manifest.quarantine)
    total = num_bad + len(manifest.videos)
    if manifest.videos and num_bad <= max_bad_share * total:
        return
    reasons = ", ".join(f"{len(files)} {reason}" for reason, files in group_by_reason(manifest.quarantine).items())
    first = f"; first: {format_path(manifest.quarantine[0].path)}" if manifest.quarantine else ""
    if not manifest.videos:
        raise InputError(f"{manifest.root}: none of {total} files can be used ({reasons}{first})")
    raise InputError(
        f"{manifest.root}: {num_bad} of {total} files can't be used ({reasons}{first}), more than the allowed share of "
        f"{max_bad_share:g}. `unreel inspect` lists them all; repair or remove them, or raise {option}"
    )
