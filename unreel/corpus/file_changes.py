"""What became of the files of a store since it was last brought up to date: told by their contents, not their names."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unreel.corpus.file_tracker import FileRecords
from unreel.io.text import format_count, format_path, preview_items
from unreel.rows.file_rows import FileBook, FileRecord
from unreel.video.sources.source import open_source

MAX_NAMED = 3  # names of files in a sentence
PathPair = tuple[str, str]  # an old and a new path


@dataclass(frozen=True)
class FileChanges:
    """Paths, sorted.

    Args:
        added: new files.
        moved: old and new path of files whose content was known and whose old path has it no more.
        moves: the same in short: a folder that was moved or renamed as a whole stands once.
        copies: new files whose content another file has too.
        changed: known paths with another content.
        deleted: files that are gone.
        dropped: files that are there, but that the source does not name any more.
    """

    added: tuple[str, ...] = ()
    moved: tuple[PathPair, ...] = ()
    moves: tuple[PathPair, ...] = ()
    copies: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A sentence without its full stop; "" where nothing has changed.

        >>> pair = ("/v/a/1.mp4", "/v/b/1.mp4")
        >>> print(FileChanges(moved=(pair,), moves=(pair,), deleted=("/v/2.mp4",)))
        1 file was moved or renamed (/v/a/1.mp4 is now /v/b/1.mp4), 1 file was deleted (/v/2.mp4)
        """
        moves = [f"{format_path(old)} is now {format_path(new)}" for old, new in self.moves]
        parts = [say_of(self.moved, ("was moved or renamed", "were moved or renamed"), moves)]
        parts.append(say_of(self.added, ("is new", "are new"), ()))
        for paths, words in (
            (self.copies, ("is a copy of another", "are copies of others")),
            (self.changed, ("was changed", "were changed")),
            (self.deleted, ("was deleted", "were deleted")),
            (self.dropped, ("is no longer named by the source", "are no longer named by the source")),
        ):
            parts.append(say_of(paths, words, [format_path(path) for path in paths]))
        return ", ".join(filter(None, parts))


def say_of(files: Sequence[object], words: tuple[str, str], names: Sequence[str]) -> str:
    """`2 files were deleted (a.mp4, b.mp4)`; "" for none."""
    if not files:
        return ""
    text = f"{format_count(len(files), 'file')} {words[len(files) > 1]}"
    return f"{text} ({preview_items(names, MAX_NAMED)})" if names else text


def compute_file_changes(before: FileRecords, after: FileRecords) -> FileChanges:
    """The changes from one set of records to another; of a first set, which is all new, the copies alone."""
    old, new = _group_by_content(before, after), _group_by_content(after, before)
    num_files = Counter(record.content_hash for record in _find_holders(after, new))
    moved: list[PathPair] = []
    added, copies, changed, gone = list[str](), list[str](), set[str](), list[str]()
    for content, paths in new.items():
        pairs, rest = _match_names(old.pop(content, []), paths)
        moved += pairs
        gone += rest.gone
        has_holder = num_files[content] > len(rest.new)
        for path in rest.new:
            if path in before:
                changed.add(path)
                continue
            (copies if has_holder else added).append(path)
            has_holder = True  # the first of several equal new files is new, the others are its copies
    gone += [path for paths in old.values() for path in paths]
    changed |= {path for path in gone if path in after}
    deleted = find_missing(path for path in gone if path not in after)
    dropped = [path for path in gone if path not in after and path not in deleted]
    paths_before, paths_after = (sorted(before), sorted(after)) if moved else ([], [])
    moves = {_find_moved_folder(pair, paths_before, paths_after) for pair in moved}
    return FileChanges(
        tuple(sorted(added)) if before else (),
        tuple(sorted(moved)),
        tuple(sorted(moves)),
        *(tuple(sorted(paths)) for paths in (copies, changed, deleted, dropped)),
    )


class _Unmatched(NamedTuple):
    gone: list[str]
    new: list[str]


def _group_by_content(records: FileRecords, others: FileRecords) -> dict[str, list[str]]:
    """The paths that have another content, or none, in the other records, by content."""
    paths: dict[str, list[str]] = {}
    for path in sorted(_list_differing(records, others)):
        paths.setdefault(records[path].content_hash, []).append(path)
    return paths


def _list_differing(records: FileRecords, others: FileRecords) -> list[str]:
    if isinstance(records, FileBook):
        return records.list_differing(others)
    return [path for path in records if path not in others or others[path].content_hash != records[path].content_hash]


def _find_holders(records: FileRecords, hashes: Collection[str]) -> list[FileRecord]:
    if isinstance(records, FileBook):
        return records.find_holders(hashes)
    return [record for record in records.values() if record.content_hash in hashes]


def _match_names(gone: list[str], new: list[str]) -> tuple[list[PathPair], _Unmatched]:
    """Pairs of old and new paths of one content, those of the same file name first, and what is left of both."""
    gone, new, pairs = list(gone), list(new), []
    for same_name in (True, False):
        for path in list(new):
            old = next((p for p in gone if not same_name or os.path.basename(p) == os.path.basename(path)), None)
            if old is not None:
                pairs.append((old, path))
                gone.remove(old)
                new.remove(path)
    return pairs, _Unmatched(gone, new)


def _find_moved_folder(pair: PathPair, before: list[str], after: list[str]) -> PathPair:
    """The topmost folder that was moved as a whole and holds this file, else the file: nothing is left below the old
    folder, and nothing was below the new one. Paths of all files, sorted."""
    best, (old, new) = pair, pair
    while os.path.basename(old) == os.path.basename(new) and old != new:
        old, new = os.path.dirname(old), os.path.dirname(new)
        if not _has_files_below(old, after) and not _has_files_below(new, before):
            best = old, new
    return best


def _has_files_below(folder: str, sorted_paths: list[str]) -> bool:
    prefix = os.path.join(folder, "")
    n = bisect_left(sorted_paths, prefix)
    return n < len(sorted_paths) and sorted_paths[n].startswith(prefix)


def find_missing(paths: Iterable[str]) -> set[str]:
    """The paths of videos whose file, or whose packed corpus on this machine, is not there: deleted, moved, or on a
    disk that is not mounted."""
    return {path for path in paths if open_source(path).is_missing()}


def describe_missing(num_missing: int, num_files: int, what: str) -> str:
    """What to say of missing files; "" where all are there.

    >>> describe_missing(0, 9, "videos")
    ''
    >>> describe_missing(2, 9, "videos")
    '2 of 9 videos are gone; `unreel index` finds what was moved, and forgets what was deleted below its folder.'
    """
    if not num_missing:
        return ""
    verb = "is" if num_missing == 1 else "are"
    return (
        f"{num_missing} of {num_files} {what} {verb} gone; `unreel index` finds what was moved, and forgets what was "
        "deleted below its folder."
    )
