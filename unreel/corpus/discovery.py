"""Finding video files, and the labels and groups that a folder or list gives them. Nothing is decoded, and only files
whose suffix says nothing are opened (video_files.py).

If all videos lie exactly one folder deep, in two or more folders, the folders are their classes. Groups are clips of
one recording, which a split keeps on one side. They come from `groups.tsv` or `groups.csv` (path, group) in the folder,
from the group column of a CSV list, or from file names of UCF101 (`v_<class>_gNN_cMM`) and HMDB51.
"""

import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from unreel.corpus.lists import (
    LIST_SUFFIXES,
    FileFinder,
    VideoEntry,
    normalize_name,
    read_list,
    read_table,
)
from unreel.corpus.video_files import HIDDEN, VIDEO_SUFFIXES, describe_left_aside, is_video
from unreel.errors import InputError, no_videos_error
from unreel.io.text import format_count, preview_items
from unreel.video.sources.packed_corpus import PackedCorpus, open_packed_corpus
from unreel.video.sources.paths import PIECE_SUFFIX, WORK_FOLDER, is_packed_corpus, is_synthetic
from unreel.video.sources.source import open_source
from unreel.video.synthetic.drawn_video import list_videos

NUM_SYNTHETIC_VIDEOS = 4096  # drawn videos of synthetic://all
_UCF101_NAME = re.compile(r"v_(?P<name>.+)_g(?P<group>\d+)_c\d+")
_HMDB51_NAME = re.compile(r"(?P<name>.+)_[fhul]_[nc]m_np\d+_(?:ba|fr|le|ri)_(?:bad|med|goo)_\d+")


def find_videos(source: Path, root: Path | None = None, left_aside: Counter[str] | None = None) -> list[VideoEntry]:
    """The videos of a folder (any depth, sorted), of a list (.txt, .csv, .tsv), of a packed corpus, or one file.

    In a folder, hidden files and folders and files that are no videos are left aside, and counted in `left_aside` by
    suffix. A list may name any file; each counts once, and a warning has the lines of repeats. Relative paths of a list
    are relative to `root`, or to the list's own folder without one. Raises InputError if there is no video.

    >>> len(find_videos(videos)), find_videos(videos)[0].label
    (24, 'drift_left')
    """
    if is_synthetic(source):
        return [VideoEntry(Path(path)) for path in list_videos(str(source), NUM_SYNTHETIC_VIDEOS)]
    source = Path(source)
    if open_source(source).is_packed:
        return [VideoEntry(source)]
    if is_packed_corpus(source):
        return _find_in_corpus(open_packed_corpus(source))
    if (source / WORK_FOLDER).is_dir():
        raise InputError(f"{source}: packing was not finished; run the same `unreel pack` again to continue it")
    if source.is_dir():
        return _find_in_folder(source, Counter() if left_aside is None else left_aside)
    if not source.is_file():
        raise no_videos_error(source, _describe_kind(source))
    if source.suffix.lower() in LIST_SUFFIXES:
        root = source.parent if root is None else Path(root)
        return infer_labels(_drop_repeats(read_list(source, FileFinder(root)), source), root)
    return [VideoEntry(source, group=_parse_group(source))]


def walk_videos(folder: Path, left_aside: Counter[str] | None = None) -> Iterator[Path]:
    """Video files below a folder, and folders that can't be listed; links to folders are followed, each folder once.

    What is not taken is counted in `left_aside`.
    """
    left_aside = Counter() if left_aside is None else left_aside
    seen: set[tuple[int, int]] = set()
    unlistable: list[Path] = []
    waiting = [folder]
    while waiting:
        for parent, folders, files in os.walk(waiting.pop(0), onerror=lambda e: unlistable.append(Path(e.filename))):
            status = os.stat(parent)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = _drop_hidden(folders, left_aside)
            waiting += [path for name in folders if (path := Path(parent, name)).is_symlink()]
            paths = (Path(parent, name) for name in _drop_hidden(files, left_aside))
            yield from (path for path in paths if is_video(path, left_aside))
    yield from unlistable


def _drop_hidden(names: list[str], left_aside: Counter[str]) -> list[str]:
    shown = sorted(name for name in names if not name.startswith("."))
    if len(shown) < len(names):
        left_aside[HIDDEN] += len(names) - len(shown)
    return shown


def map_videos_by_name(folder: Path) -> dict[str, Path]:
    """Every video below a folder by its name, with and without suffix; of several the first in the alphabet."""
    paths = sorted(path for path in walk_videos(folder) if path.suffix.lower() in VIDEO_SUFFIXES)
    return {normalize_name(name): path for path in reversed(paths) for name in (path.name, path.stem)}


class VideoFinder:
    """Finds videos below a folder by name without suffix; `suffix` is the one to expect of missing files."""

    def __init__(self, root: Path, suffix: str = ".mp4") -> None:
        self.root, self.suffix = root, suffix
        self._paths: dict[str, list[Path]] = {}
        for path in walk_videos(root):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                self._paths.setdefault(path.stem, []).append(path)

    def find(self, stems: Iterable[str], preferred_folders: Iterable[str] = ()) -> Path:
        """The video of the first stem that exists, preferably in one of these folders; else the expected path."""
        stems = list(stems)
        for stem in stems:
            paths = self._paths.get(stem, [])
            preferred = (path for path in paths if set(preferred_folders) & set(path.relative_to(self.root).parts[:-1]))
            if paths:
                return next(preferred, paths[0])
        return self.root / f"{stems[0]}{self.suffix}"


def list_empty_folders(root: Path) -> list[str]:
    """Names of the subfolders without a video at any depth; subfolders that hold lists are no classes and left out."""
    list_suffixes = LIST_SUFFIXES | {".json"}
    folders = [
        folder
        for folder in _list_folders(root)
        if not any(path.suffix.lower() in list_suffixes for path in _list_directory(folder))
    ]
    return [folder.name for folder in folders if next(walk_videos(folder), None) is None]


def list_parent_folders(root: Path) -> list[Path]:
    """Its subfolders that have subfolders themselves, such as UCF-101 or hmdb51_org beside the lists."""
    return [path for path in _list_folders(root) if _list_folders(path)]


def _list_folders(root: Path) -> list[Path]:
    return [path for path in _list_directory(root) if path.is_dir() and not path.name.startswith(".")]


def _list_directory(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # it can't be listed; `walk_videos` names it
        return []


def _find_in_folder(folder: Path, left_aside: Counter[str]) -> list[VideoEntry]:
    paths = sorted(walk_videos(folder, left_aside), key=lambda path: path.parts)
    if not paths:
        there = describe_left_aside(left_aside) or "no file"
        raise InputError(f"{folder}: no video in it or below it, by suffix or content; there is {there}")
    return infer_labels([VideoEntry(path) for path in paths], folder)


def _find_in_corpus(corpus: PackedCorpus) -> list[VideoEntry]:
    """All pieces of a packed corpus, by their paths."""
    columns = (corpus.get_column(name) for name in ("shard", "key", "label", "group"))
    return [
        VideoEntry(Path(f"{corpus.root}/{shard}#{key}{PIECE_SUFFIX}"), label, group)
        for shard, key, label, group in zip(*columns, strict=True)
    ]


def _drop_repeats(entries: Iterable[VideoEntry], source: Path) -> list[VideoEntry]:
    """Each file once, in order; warns of the others. Raises InputError if a list gives one file two labels."""
    first: dict[str, VideoEntry] = {}
    lines: list[int] = []
    for entry in entries:
        known = first.setdefault(os.path.abspath(entry.path), entry)
        lines += [entry.line] * (known is not entry)
        if known.label != entry.label:
            raise InputError(f"{source}: {entry.path} has two labels, {known.label!r} and {entry.label!r}")
    if lines:
        repeats = f"{format_count(len(lines), 'repeat')} of files named before, line {preview_items(lines)}"
        text = f"{source}: {repeats}; each of the {len(first)} files counts once"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    return list(first.values())


def _describe_kind(path: Path) -> str:
    """What stands at a path that is neither a folder nor a file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to something that is not there" if path.is_symlink() else "no such folder or list"
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return f"{kinds.get(stat.S_IFMT(mode), 'a device')}, not a folder or a file"


def infer_labels(entries: list[VideoEntry], root: Path) -> list[VideoEntry]:
    """Entries with labels by class folder and groups by file or name, where the list itself gives none."""
    relative_paths = [os.path.relpath(entry.path, root) for entry in entries]
    pairs = list(zip(entries, relative_paths, strict=True))
    folders = {Path(path).parent for entry, path in pairs if not entry.path.is_dir()}
    are_classes = len(folders) > 1 and all(len(folder.parts) == 1 and folder.name != ".." for folder in folders)
    groups = _read_groups(root)
    out = []
    for entry, path in pairs:
        label = entry.label or (Path(path).parent.name if are_classes else "")
        group = entry.group or groups.get(normalize_name(path), "") or _parse_group(entry.path)
        out.append(replace(entry, label=label, group=group))
    return out


def _read_groups(root: Path) -> dict[str, str]:
    """Group by path relative to the folder, from groups.tsv or groups.csv; a header line does no harm."""
    path = next((path for name in ("groups.tsv", "groups.csv") if (path := root / name).is_file()), None)
    rows = read_table(path) if path else []
    for line, cells in rows:
        if len(cells) != 2:
            raise InputError(f"{path}, line {line}: expected a path and a group, got {cells}")
    return {normalize_name(os.path.normpath(video)): group for _, (video, group) in rows}


def _parse_group(path: Path) -> str:
    """The recording of a clip from its name: `<class>_gNN` of UCF101, film or upload of HMDB51, else ""."""
    if ucf101 := _UCF101_NAME.fullmatch(path.stem):
        return f"{ucf101['name']}_g{ucf101['group']}"
    hmdb51 = _HMDB51_NAME.fullmatch(path.stem)
    return hmdb51["name"].removesuffix(f"_{path.parent.name}") if hmdb51 else ""
