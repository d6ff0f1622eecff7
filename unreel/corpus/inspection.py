"""What is in a folder of videos: every file probed, decoded and hashed once; what can't be used, and why."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.corpus.discovery import VideoEntry, find_videos
from unreel.corpus.manifest_summary import format_path, group_by_reason, summarize_manifest
from unreel.corpus.shot_detection import LONG_VIDEO_SEGMENTS, SEGMENT_S, detect_shot_changes
from unreel.errors import DiskError, InputError, VideoError
from unreel.io.retry import retry_on_stall
from unreel.io.worker_pool import Limits, WorkerFailure, map_jobs
from unreel.video.decoding import decoder
from unreel.video.sources import packed_corpus
from unreel.video.sources.paths import INDEX_FILE, absolute_path, is_packed_corpus

__all__ = ["Manifest", "QuarantineEntry", "Video", "inspect", "require_usable", "summarize_manifest"]

CheckDepth = Literal["auto", "full", "fast"]
FULL_CHECK_S = 60.0  # `auto` decodes videos up to this long to the end
BATCH_ROWS = 65_536  # of a manifest as plain dictionaries, which take far more memory than the videos themselves
MANIFEST_FILE, QUARANTINE_FILE = "manifest.parquet", "quarantine.csv"


@dataclass(frozen=True, slots=True)
class Video:
    """A usable file: what it is, what its layout says about it, and where its shots change.

    `path` is absolute. `duplicate_of` is the path of the first file with the same bytes, "" for a first one. A piece of
    a packed corpus has its original as `recording`, in which it begins at `offset_s`.
    """

    path: str
    codec: str
    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    rotation: int
    variable_fps: bool
    size_bytes: int
    content_hash: str
    label: str = ""
    group: str = ""
    duplicate_of: str = ""
    shot_changes_s: tuple[float, ...] = ()
    recording: str = ""
    offset_s: float = 0.0


@dataclass(frozen=True)
class QuarantineEntry:
    """A file that can't be used; `reason` is one of errors.REASONS, `detail` the decoder's own words."""

    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Manifest:
    """The usable videos of a folder or list, and the quarantined files; both in the order they were found."""

    root: str
    videos: tuple[Video, ...]
    quarantine: tuple[QuarantineEntry, ...] = ()

    def drop_duplicates(self) -> tuple[Video, ...]:
        """The videos without those whose content was there before: training uses each content once."""
        return tuple(video for video in self.videos if not video.duplicate_of)

    def save(self, folder: Path) -> None:
        """Write manifest.parquet and quarantine.csv into `folder`, whole or not at all. Raises DiskError."""
        asides = [Path(folder, f".{name}.{os.getpid()}") for name in (MANIFEST_FILE, QUARANTINE_FILE)]
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            pq.write_table(self._to_table(), asides[0])
            with asides[1].open("w", newline="", encoding="utf-8") as out:
                csv.writer(out).writerow(["path", "reason", "detail"])
                csv.writer(out).writerows([bad.path, bad.reason, bad.detail] for bad in self.quarantine)
            for aside, name in zip(asides, (MANIFEST_FILE, QUARANTINE_FILE), strict=True):
                aside.replace(Path(folder, name))
        except OSError as error:
            raise DiskError(f"{folder}: the manifest can't be written ({error.strerror or error})") from error
        finally:
            with contextlib.suppress(OSError):
                for aside in asides:
                    aside.unlink(missing_ok=True)

    def _to_table(self) -> pa.Table:
        rows = [asdict(video) for video in self.videos]
        return pa.Table.from_pylist(rows, _SCHEMA.with_metadata({"unreel": json.dumps({"root": self.root})}))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read what `save` wrote. Raises InputError if there is none in `folder` or it is damaged."""
        path = Path(folder, MANIFEST_FILE)
        if not path.is_file():
            raise InputError(f"{path}: no such file. Write a manifest with `unreel inspect`")
        try:
            return cls.parse(
                *(retry_on_stall(Path(folder, name).read_bytes) for name in (MANIFEST_FILE, QUARANTINE_FILE))
            )
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise InputError(f"{folder}: the manifest is damaged ({error}). Run `unreel inspect` again") from error

    @classmethod
    def parse(cls, parquet: bytes, quarantine_csv: bytes) -> "Manifest":
        """The manifest that the bytes of the two files of `save` hold."""
        table = pq.read_table(io.BytesIO(parquet))
        root = json.loads(table.schema.metadata[b"unreel"])["root"]
        rows = (row for part in table.to_batches(BATCH_ROWS) for row in part.to_pylist())
        videos = [Video(**row | {"shot_changes_s": tuple(row["shot_changes_s"])}) for row in rows]
        lines = io.StringIO(quarantine_csv.decode("utf-8"), newline="")
        return cls(root, tuple(videos), tuple(QuarantineEntry(**row) for row in csv.DictReader(lines)))


_ARROW_TYPES: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_SCHEMA = pa.schema([(f.name, _ARROW_TYPES.get(f.type, pa.list_(pa.float64()))) for f in fields(Video)])


def inspect(
    source: Path,
    root: Path | None = None,
    min_frames: int = 2,
    check: CheckDepth = "auto",
    shots: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
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
    found: list[Video | QuarantineEntry] = []
    workers = workers or min(8, os.cpu_count() or 1)
    for item, row in map_jobs(
        _inspect_file, listed, (min_frames, check, shots), workers, lambda item: limits.scale_to_file(item.path)
    ):
        found.append(
            QuarantineEntry(absolute_path(item.path), "damaged", row.reason) if isinstance(row, WorkerFailure) else row
        )
        if on_progress:
            on_progress(len(found), len(listed))
    videos = _mark_duplicates([row for row in found if isinstance(row, Video)])
    return Manifest(os.path.abspath(base), videos, tuple(row for row in found if isinstance(row, QuarantineEntry)))


def load_packed_manifest(
    source: str | Path, verify_checksums: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> Manifest:
    """The manifest of a packed corpus, its paths the addresses of pieces; pieces that are cut off are quarantined."""
    corpus = packed_corpus.open_packed_corpus(source)
    try:
        kept = Manifest.parse(
            *(packed_corpus.read_corpus_file(corpus.root, name) for name in (MANIFEST_FILE, QUARANTINE_FILE))
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{corpus.root}: the packed corpus has no manifest that can be read ({error})") from error
    if len(kept.videos) != len(corpus):
        raise InputError(f"{corpus.root}: {INDEX_FILE} has {len(corpus)} pieces, {MANIFEST_FILE} {len(kept.videos)}")
    bad = packed_corpus.find_damaged_pieces(corpus, verify_checksums, on_progress)
    at = {video.path: f"{corpus.root}/{video.path}" for video in kept.videos}
    videos = [replace(v, path=at[v.path], duplicate_of=at.get(v.duplicate_of, "")) for v in kept.videos]
    lost = [QuarantineEntry(v.path, bad[v.path].reason, bad[v.path].detail) for v in videos if v.path in bad]
    return Manifest(corpus.root, tuple(v for v in videos if v.path not in bad), (*kept.quarantine, *lost))


def _inspect_file(entry: VideoEntry, min_frames: int, check: CheckDepth, shots: bool) -> Video | QuarantineEntry:
    path = absolute_path(entry.path)
    try:
        path.encode()
        return _probe_video(path, entry, min_frames, check, shots)
    except UnicodeEncodeError:
        return QuarantineEntry(format_path(path), "unreadable", "the file's name is not UTF-8; rename it")
    except VideoError as error:
        return QuarantineEntry(path, error.reason, error.detail)
    except OSError as error:
        return QuarantineEntry(path, "unreadable", error.strerror or str(error))


def _probe_video(path: str, entry: VideoEntry, min_frames: int, check: CheckDepth, shots: bool) -> Video:
    """One row of the manifest. Raises VideoError."""
    info = decoder.probe(path)
    if info.num_frames < min_frames:
        raise VideoError(path, "too short", f"{info.num_frames} of at least {min_frames} frames")
    decoder.check_decodable(path, all_frames=check == "full" or (check == "auto" and info.duration_s <= FULL_CHECK_S))
    changes = detect_shot_changes(path) if shots and info.duration_s > LONG_VIDEO_SEGMENTS * SEGMENT_S else []
    about = {f.name: getattr(info, f.name) for f in fields(info) if f.name in _SCHEMA.names}
    about |= {
        "content_hash": packed_corpus.hash_content(path),
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
