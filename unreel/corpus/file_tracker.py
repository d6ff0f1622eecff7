"""Tracking the files of a store by content: a refresh looks at every file, and reads only those that changed.

A file is identified by its path, and counts as unchanged while its size and modification time stay. Its content is
identified by a hash, so a moved or renamed file is the same content under another path, and two equal files are one.

A *source* (folder, list, file, packed corpus) only speaks for the files it names; another source adds to the records.
A file is removed when the source that added it no longer names it, when it lay below this source and is deleted, or
when it is not there and its content has come under another path, as when the whole source was moved.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from unreel.corpus.discovery import find_videos
from unreel.corpus.lists import VideoEntry
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.retry import retry_on_stall
from unreel.io.text import format_path
from unreel.rows.file_rows import FileBook, FileRecord, PathSet
from unreel.types import FileFailure
from unreel.video.sources.paths import absolute_path
from unreel.video.sources.source import open_source

MISSING = "missing"
SAVE_INTERVAL_S = 60.0  # seconds of hashing that a killed process may lose
FileRecords = Mapping[str, FileRecord]


def refresh_files(
    records: FileBook,
    source: str | Path,
    save: Callable[[FileBook], None],
    on_progress: Callable[[int, int], None] | None = None,
    left_aside: Counter[str] | None = None,
) -> list[FileFailure]:
    """Bring `records` up to date with a source; returns the files that can't be read.

    What a folder holds beside videos is counted in `left_aside`.

    `save` is called about once a minute and at the end. The record of a file that can't be read at the moment is kept.
    Raises InputError when the source names no video, or when none of the recorded files that it names exists any more.
    """
    entries = find_videos(Path(source), left_aside=left_aside)
    source_path, saved_s = absolute_path(source), time.monotonic()
    failures: list[FileFailure] = []
    seen, new = PathSet(records.rows), set[str]()
    with contextlib.closing(_check_files(entries, source_path, records)) as results:
        for done, result in enumerate(results, start=1):
            if isinstance(result, FileRecord):
                if result.path not in records:
                    new.add(result.path)
                records[result.path] = result
            else:
                failures.append(result)
            if isinstance(result, FileRecord) or result.reason != MISSING:
                seen.add(result.path)
            if on_progress is not None:
                on_progress(done, len(entries))
            if time.monotonic() - saved_s > SAVE_INTERVAL_S:
                save(records)
                saved_s = time.monotonic()
    missing = [failure.path for failure in failures if failure.reason == MISSING and failure.path in records]
    if missing and not seen:
        raise InputError(
            f"{source}: none of the {len(missing)} known files that it names exists, the first {missing[0]}; is its "
            "disk mounted? Nothing was changed. To remove files that are deleted for good, take them out of the list"
        )
    for path in [
        *_find_removed(records, seen, source_path, entries),
        *_find_moved(records, seen, {records[path].content_hash for path in new}),
    ]:
        records.pop(path, None)
    save(records)
    return failures


def _check_files(
    entries: Sequence[VideoEntry], source: str, records: FileRecords
) -> Generator[FileRecord | FileFailure]:
    """The state of each file, in order; several threads wait for the disk."""
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(lambda entry: _check_file(entry, source, records), entries)
    finally:
        pool.shutdown(cancel_futures=True)


def _check_file(entry: VideoEntry, source: str, records: FileRecords) -> FileRecord | FileFailure:
    """The current state of a file; it is read only when it is new or has changed."""
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
        content_hash = retry_on_stall(video.hash_content)
        return replace(before, size_bytes=size_bytes, mtime_ns=mtime_ns, content_hash=content_hash)
    except UnicodeEncodeError:
        return FileFailure(format_path(path), "unreadable", "the file's name is not UTF-8; rename it")
    except FileNotFoundError:
        return FileFailure(path, MISSING)
    except OSError as error:
        return FileFailure(path, "unreadable", error.strerror or str(error))


def _find_removed(records: FileBook, seen: PathSet, source: str, entries: Sequence[VideoEntry]) -> Iterator[str]:
    """Paths to remove; files in a folder that can't be listed at the moment stay."""
    unlistable = tuple(os.path.join(absolute_path(entry.path), "") for entry in entries if os.path.isdir(entry.path))
    source_prefix = os.path.join(source, "")
    for path in records:
        if path in seen or path.startswith(unlistable):
            continue
        if records[path].source == source or (path.startswith(source_prefix) and open_source(path).is_deleted()):
            yield path


def _find_moved(records: FileBook, seen: PathSet, arrived: set[str]) -> Iterator[str]:
    """Paths that are not there, and whose content has come under another path."""
    for record in records.find_holders(arrived):
        if record.path not in seen and open_source(record.path).is_missing():
            yield record.path


def save_records(records: FileRecords, path: Path) -> None:
    """Write the records as Parquet, atomically. Raises DiskError."""
    book = records if isinstance(records, FileBook) else FileBook.from_records(records.values())
    with (
        disk_errors(path, advice="free some space, then run it again"),
        atomic_path(path) as temporary,
        temporary.open("wb") as file,  # Arrow takes no path that is not UTF-8
    ):
        book.write(file)


def load_records(path: Path) -> FileBook:
    """Read what `save_records` wrote. Raises InputError when it is missing or damaged."""
    try:
        with path.open("rb") as file:
            return FileBook.read(file)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: the records of the files can't be read ({reason}); restore a copy of it") from error
