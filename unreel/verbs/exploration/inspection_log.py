"""Inspection that goes on where it stopped: what was found out about a file is kept until the file changes.

inspected.jsonl has one line for each inspected file: its path, size and time of change, and its row of the manifest or
the reason why it can't be used. A line is written as soon as the file is inspected, so a kill costs one file for each
process.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from unreel.corpus.inspection import collect_manifest, find_base_folder, inspect_files, load_packed_manifest
from unreel.corpus.lists import VideoEntry
from unreel.corpus.manifest import Manifest
from unreel.io.atomic_write import atomic_write_text, disk_errors
from unreel.io.text import parse_json
from unreel.rows.video_rows import Video
from unreel.types import FileFailure, ProgressCallback
from unreel.video.sources.paths import absolute_path, is_packed_corpus

TRANSIENT_REASONS = ("missing", "unreadable")  # the file may be readable next time
FileStamp = tuple[int, int]  # size in bytes, time of change in nanoseconds


@dataclass(frozen=True)
class InspectedFile:
    """The size and time of change of a file, and what its inspection found."""

    stamp: FileStamp
    result: Video | FileFailure

    def to_json(self, path: str) -> str:
        kind = "video" if isinstance(self.result, Video) else "failure"
        size_bytes, mtime_ns = self.stamp
        line = {"path": path, "size_bytes": size_bytes, "mtime_ns": mtime_ns, kind: asdict(self.result)}
        return json.dumps(line) + "\n"

    @classmethod
    def from_json(cls, line: str) -> tuple[str, "InspectedFile"]:
        """The path and its state. Raises ValueError, KeyError or TypeError for a line of something else."""
        data: dict[str, Any] = parse_json(line)
        result: Video | FileFailure
        if "video" in data:
            shot_changes_s = tuple(data["video"].pop("shot_changes_s"))
            result = Video(**data["video"], shot_changes_s=shot_changes_s)
        else:
            result = FileFailure(**data["failure"])
        return data["path"], cls((data["size_bytes"], data["mtime_ns"]), result)

    def is_current(self, stamp: FileStamp | None) -> bool:
        """Whether the file is as it was, and another inspection would find the same."""
        is_transient = isinstance(self.result, FileFailure) and (
            self.result.reason in TRANSIENT_REASONS or self.result.exceeded_limits
        )
        return self.stamp == stamp and not is_transient


def inspect_changes(
    source: Path,
    entries: Sequence[VideoEntry],
    left_aside: Mapping[str, int],
    log_path: Path,
    begin: Callable[[int, int], AbstractContextManager[ProgressCallback]],
) -> Manifest:
    """The manifest of a source; of its `entries` only files that are new or have changed are inspected.

    `begin` gets the number of files and how many of them are to be inspected, and gives what shows the progress. A
    packed corpus has a manifest of its own. Raises DiskError when the log can't be written.
    """
    if is_packed_corpus(source):
        manifest = load_packed_manifest(source)
        num_files = len(manifest.videos) + len(manifest.quarantine)
        with begin(num_files, num_files):
            return manifest
    paths = [absolute_path(entry.path) for entry in entries]
    stamps = list(map(read_stamp, paths))
    known = read_log(log_path)
    changed = [n for n, path in enumerate(paths) if path not in known or not known[path].is_current(stamps[n])]
    with open_log(log_path, known, paths) as log, begin(len(entries), len(changed)) as on_progress:
        new_results = inspect_files([entries[n] for n in changed])
        for done, (n, result) in enumerate(zip(changed, new_results, strict=True), start=1):
            known[paths[n]] = InspectedFile(stamps[n] or (0, 0), result)
            with disk_errors(log_path):
                log.write(known[paths[n]].to_json(paths[n]))
                log.flush()
            on_progress(done, len(changed))
    results = relabel_results(entries, [known[path] for path in paths])
    return collect_manifest(find_base_folder(source), results, left_aside)


def relabel_results(
    entries: Sequence[VideoEntry], inspected_files: Sequence[InspectedFile]
) -> list[Video | FileFailure]:
    """The results with the labels and groups that the source gives now."""
    pairs = ((entry, inspected.result) for entry, inspected in zip(entries, inspected_files, strict=True))
    return [
        replace(result, label=entry.label, group=entry.group) if isinstance(result, Video) else result
        for entry, result in pairs
    ]


def read_stamp(path: str) -> FileStamp | None:
    """Size and time of change, taken before a file is inspected; None for a file that can't be reached."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def read_log(path: Path) -> dict[str, InspectedFile]:
    """The last line of each path; lines that are not whole, or of another version, count as not inspected."""
    known: dict[str, InspectedFile] = {}
    if not path.exists():
        return known
    with path.open(encoding="utf-8") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                name, inspected = InspectedFile.from_json(line)
                known[name] = inspected
    return known


@contextlib.contextmanager
def open_log(path: Path, known: dict[str, InspectedFile], paths: Sequence[str]) -> Iterator[TextIO]:
    """The log to append to, rewritten first with one line for each file that the source still names.

    Raises DiskError.
    """
    lines = (known[name].to_json(name) for name in paths if name in known)
    with disk_errors(path):
        atomic_write_text(path, "".join(lines), sync=False)
        file = path.open("a", encoding="utf-8")
    with file:
        yield file
