"""Which files a store was made of, by content: looked at again in every run, read again only when they changed.

A file is known by its path, and unchanged while size and time of change are. What it holds is known by its hash, so a
file that was moved or renamed is the same content under another path, and two files of equal bytes are one content.

A *source* (folder, list, file, corpus) only answers for what it names: another one adds to what is known. A file leaves
when the source that brought it names it no more, or when it lay beneath this source and is no longer on the disk.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.corpus.discovery import find_videos
from unreel.corpus.lists import VideoEntry
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.retry import retry_on_stall
from unreel.io.text import format_path
from unreel.types import FileFailure
from unreel.video.sources.paths import absolute_path
from unreel.video.sources.source import open_source

MISSING = "missing"
SAVE_INTERVAL_S = 60.0  # of hashing that a kill may cost
FileRecords = dict[str, "FileRecord"]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that could be read: its absolute path, the source that brought it, its layout's label, its content."""

    path: str
    source: str
    label: str
    size_bytes: int
    mtime_ns: int
    content_hash: str


def refresh_files(
    records: FileRecords,
    source: str | Path,
    save: Callable[[FileRecords], None],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[FileFailure]:
    """Bring `records` up to date with a source; returns the files that can't be read.

    `save` is called now and then, and at the end. A known file that can't be read just now stays as it was. Raises
    InputError when the source names no video, or when none of the known files that it names is there any more.
    """
    listed = find_videos(Path(source))
    here, unread, saved_s = absolute_path(source), [], time.monotonic()
    seen: set[str] = set()
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, found in enumerate(pool.map(lambda item: _check_file(item, here, records), listed), start=1):
            if isinstance(found, FileRecord):
                records[found.path] = found
                seen.add(found.path)
            else:
                unread.append(found)
                if found.reason != MISSING:
                    seen.add(found.path)
            if on_progress is not None:
                on_progress(done, len(listed))
            if time.monotonic() - saved_s > SAVE_INTERVAL_S:
                save(records)
                saved_s = time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)
    missing = [bad.path for bad in unread if bad.reason == MISSING and bad.path in records]
    if missing and not seen:
        raise InputError(
            f"{source}: none of the {len(missing)} known files that it names is there, the first {missing[0]}; is its "
            "disk mounted? Nothing was changed. Files that are gone for good leave when they leave the list"
        )
    for path in list(_find_removed(records, seen, here, listed)):
        del records[path]
    save(records)
    return unread


def _check_file(entry: VideoEntry, source: str, records: FileRecords) -> FileRecord | FileFailure:
    """A file as it is now, or why it can't be read. Read only when it is new or has changed."""
    path = absolute_path(entry.path)
    try:
        path.encode()
        video = open_source(path)
        size_bytes, mtime_ns = retry_on_stall(video.get_content_stat)
        before = records.get(path)
        if before is None:
            return FileRecord(path, source, entry.label, size_bytes, mtime_ns, retry_on_stall(video.hash_content))
        if before.source == source:
            before = replace(before, label=entry.label)
        if not video.is_packed and (before.size_bytes, before.mtime_ns) == (size_bytes, mtime_ns):
            return before
        content = retry_on_stall(video.hash_content)
        return replace(before, size_bytes=size_bytes, mtime_ns=mtime_ns, content_hash=content)
    except UnicodeEncodeError:
        return FileFailure(format_path(path), "unreadable", "the file's name is not UTF-8; rename it")
    except FileNotFoundError:
        return FileFailure(path, MISSING)
    except OSError as error:
        return FileFailure(path, "unreadable", error.strerror or str(error))


def _find_removed(records: FileRecords, seen: set[str], source: str, entries: Sequence[VideoEntry]) -> Iterator[str]:
    """Paths that leave. What lies in a folder that can't be listed just now stays."""
    closed = tuple(os.path.join(absolute_path(item.path), "") for item in entries if os.path.isdir(item.path))
    inside = os.path.join(source, "")
    for path, file in records.items():
        if path in seen or path.startswith(closed):
            continue
        if file.source == source or (path.startswith(inside) and open_source(path).is_deleted()):
            yield path


_SCHEMA = pa.schema([(f.name, pa.string() if f.type is str else pa.int64()) for f in fields(FileRecord)])


def save_records(records: FileRecords, path: Path) -> None:
    """Write them as Parquet, whole or not at all. Raises DiskError."""
    with disk_errors(path, advice="free some space, then run it again"), atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist([asdict(file) for file in records.values()], _SCHEMA), temporary)


def load_records(path: Path) -> FileRecords:
    """What `save_files` wrote. Raises InputError when it is missing or damaged."""
    try:
        table = pq.read_table(path)
        return {row["path"]: FileRecord(**row) for batch in table.to_batches() for row in batch.to_pylist()}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise InputError(f"{path}: what is known of the files can't be read ({what}); put back a copy of it") from error
