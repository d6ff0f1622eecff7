"""What became of the files of a store since it was last brought up to date: told by their contents, not their names."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from unreel.corpus.file_tracker import FileRecords
from unreel.io.text import format_count, format_path, preview_items
from unreel.video.sources.source import open_source

MAX_NAMED = 3  # names of files in a sentence


@dataclass(frozen=True)
class FileChanges:
    """Paths, sorted. A moved file is (old path, new path): its content was known and its old path is gone.

    `copies` are new files whose content another file has too; `changed` have other contents under a known path.
    """

    added: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    copies: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A sentence without its full stop; "" where nothing has changed.

        >>> print(FileChanges(moved=(("/v/a/1.mp4", "/v/b/1.mp4"),), deleted=("/v/2.mp4",)))
        1 file moved or renamed (/v/a is now /v/b), 1 file deleted (/v/2.mp4)
        """
        moved = f"{format_count(len(self.moved), 'file')} moved or renamed ({describe_moves(self.moved)})"
        parts = [moved] if self.moved else []
        for paths, what in (
            (self.added, "new"),
            (self.copies, "a copy of another"),
            (self.changed, "changed"),
            (self.deleted, "deleted"),
        ):
            text = what.replace("a copy of another", "copies of others") if len(paths) > 1 else what
            names = "" if what == "new" else f" ({preview_items(map(format_path, paths), MAX_NAMED)})"
            parts += [f"{format_count(len(paths), 'file')} {text}{names}"] if paths else []
        return ", ".join(parts)


def compute_file_changes(before: FileRecords, after: FileRecords) -> FileChanges:
    """The changes from one set of records to another; of a first set, which is all new, the copies alone."""
    changed = [path for path in before.keys() & after.keys() if before[path].content_hash != after[path].content_hash]
    old, new = _group_paths(before, after), _group_paths(after, before)
    contents_before = {record.content_hash for record in before.values()}
    num_files = Counter(record.content_hash for record in after.values())
    moved: list[tuple[str, str]] = []
    added, copies, deleted = list[str](), list[str](), list[str]()
    for content, paths in new.items():
        pairs, rest = _match_names(old.pop(content, []), paths)
        moved += pairs
        deleted += rest.gone
        known = content in contents_before or num_files[content] > len(rest.new)
        for path in rest.new:
            (copies if known else added).append(path)
            known = True  # the first of several equal new files is new, the others are its copies
    deleted += [path for paths in old.values() for path in paths]
    lists = added if before else [], copies, changed, deleted
    added_paths, copied_paths, *rest_paths = (tuple(sorted(paths)) for paths in lists)
    return FileChanges(added_paths, tuple(sorted(moved)), copied_paths, *rest_paths)


@dataclass(frozen=True)
class _Unmatched:
    gone: list[str]
    new: list[str]


def _group_paths(records: FileRecords, others: FileRecords) -> dict[str, list[str]]:
    """The paths that the other records do not have, by content."""
    paths: dict[str, list[str]] = {}
    for path in sorted(records.keys() - others.keys()):
        paths.setdefault(records[path].content_hash, []).append(path)
    return paths


def _match_names(gone: list[str], new: list[str]) -> tuple[list[tuple[str, str]], _Unmatched]:
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


def describe_moves(moved: Iterable[tuple[str, str]]) -> str:
    """Moved files by the folder that was moved or renamed, else by their names."""
    counts: Counter[tuple[str, str]] = Counter()
    for old, new in moved:
        while os.path.basename(old) == os.path.basename(new) and old != new:
            old, new = os.path.dirname(old), os.path.dirname(new)
        counts[old, new] += 1
    return preview_items((f"{format_path(old)} is now {format_path(new)}" for (old, new), _ in counts.most_common()), 3)


def find_missing(paths: Iterable[str]) -> set[str]:
    """The paths of files that are not there: deleted, moved, or on a disk that is not mounted."""
    return {path for path in paths if open_source(path).is_deleted()}


def describe_missing(num_missing: int, num_files: int, what: str) -> str:
    """What to say of missing files; "" where all are there.

    >>> describe_missing(0, 9, "videos")
    ''
    >>> describe_missing(2, 9, "videos")
    '2 of 9 videos are gone; `unreel index` finds those that were moved, and forgets those that were deleted.'
    """
    if not num_missing:
        return ""
    verb = "is" if num_missing == 1 else "are"
    return (
        f"{num_missing} of {num_files} {what} {verb} gone; `unreel index` finds those that were moved, and forgets "
        "those that were deleted."
    )
