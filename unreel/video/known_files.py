"""Which files a store was made of, by content: looked at again in every run, read again only when they changed.

A file is known by its path, and unchanged while size and time of change are. What it holds is known by its hash, so a
file that was moved or renamed is the same content under another path, and two files of equal bytes are one content.

A *source* (folder, list, file, corpus) only answers for what it names: another one adds to what is known. A file leaves
when the source that brought it names it no more, or when it lay beneath this source and is no longer on the disk.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import DiskError, InputError
from unreel.video.addresses import absolute, is_piece
from unreel.video.layouts import find_videos
from unreel.video.lists import Listed
from unreel.video.packed import content_bytes, content_hash
from unreel.video.patience import patiently
from unreel.video.summary import shown

MISSING = "missing"
SAVE_S = 60.0  # of hashing that a kill may cost
Found = dict[str, "KnownFile"]


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that could be read: its absolute path, the source that brought it, its layout's label, its content."""

    path: str
    source: str
    label: str
    size_bytes: int
    mtime_ns: int
    content_hash: str


def take_stock(
    known: Found,
    source: str | Path,
    save: Callable[[Found], None],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[tuple[str, str]]:
    """Bring `known` up to date with a source; returns (path, reason) of the files that can't be read.

    `save` is called now and then, and at the end. A known file that can't be read just now stays as it was. Raises
    InputError when the source names no video, or when none of the known files that it names is there any more.
    """
    listed = find_videos(Path(source))
    here, unread, saved_s = absolute(source), [], time.monotonic()
    seen: set[str] = set()
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, found in enumerate(pool.map(lambda item: _look(item, here, known), listed), start=1):
            if isinstance(found, KnownFile):
                known[found.path] = found
                seen.add(found.path)
            else:
                unread.append(found)
                if found[1] != MISSING:
                    seen.add(found[0])
            if on_progress is not None:
                on_progress(done, len(listed))
            if time.monotonic() - saved_s > SAVE_S:
                save(known)
                saved_s = time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)
    missing = [path for path, why in unread if why == MISSING and path in known]
    if missing and not seen:
        raise InputError(
            f"{source}: none of the {len(missing)} known files that it names is there, the first {missing[0]}; is its "
            "disk mounted? Nothing was changed. Files that are gone for good leave when they leave the list"
        )
    for path in list(_gone(known, seen, here, listed)):
        del known[path]
    save(known)
    return unread


def _look(item: Listed, source: str, known: Found) -> KnownFile | tuple[str, str]:
    """A file as it is now, or its path and why it can't be read. Read only when it is new or has changed."""
    path = absolute(item.path)
    try:
        path.encode()
        size_bytes, mtime_ns = patiently(lambda: _standing(path))
        before = known.get(path)
        if before is None:
            return KnownFile(path, source, item.label, size_bytes, mtime_ns, patiently(lambda: content_hash(path)))
        if before.source == source:
            before = replace(before, label=item.label)
        if not is_piece(path) and (before.size_bytes, before.mtime_ns) == (size_bytes, mtime_ns):
            return before
        content = patiently(lambda: content_hash(path))
        return replace(before, size_bytes=size_bytes, mtime_ns=mtime_ns, content_hash=content)
    except UnicodeEncodeError:
        return shown(path), "unreadable: the file's name is not UTF-8; rename it"
    except FileNotFoundError:
        return path, MISSING
    except OSError as error:
        return path, f"unreadable: {error.strerror or error}"


def _standing(path: str) -> tuple[int, int]:
    """Size and time of change. A piece of a corpus has no time: its index tells its hash at no cost. Raises OSError."""
    if is_piece(path):
        return content_bytes(path), 0
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    return status.st_size, status.st_mtime_ns


def _gone(known: Found, seen: set[str], here: str, listed: Sequence[Listed]) -> Iterator[str]:
    """Paths that leave. What lies in a folder that can't be listed just now stays."""
    closed = tuple(os.path.join(absolute(item.path), "") for item in listed if os.path.isdir(item.path))
    inside = os.path.join(here, "")
    for path, file in known.items():
        if path in seen or path.startswith(closed):
            continue
        beneath = path.startswith(inside) and not is_piece(path)
        if file.source == here or (beneath and not os.path.lexists(path)):
            yield path


_SCHEMA = pa.schema([(f.name, pa.string() if f.type is str else pa.int64()) for f in fields(KnownFile)])


def save_files(known: Found, path: Path) -> None:
    """Write them as Parquet, whole or not at all. Raises DiskError."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        pq.write_table(pa.Table.from_pylist([asdict(file) for file in known.values()], _SCHEMA), aside)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise DiskError(
            f"{path}: can't be written ({error.strerror or error}); free space, then run it again"
        ) from error


def load_files(path: Path) -> Found:
    """What `save_files` wrote. Raises InputError when it is missing or damaged."""
    try:
        table = pq.read_table(path)
        return {row["path"]: KnownFile(**row) for batch in table.to_batches() for row in batch.to_pylist()}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise InputError(f"{path}: what is known of the files can't be read ({what}); put back a copy of it") from error
