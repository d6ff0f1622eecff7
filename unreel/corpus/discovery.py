"""Finding video files, and what a folder or a list says about them. Nothing is opened or decoded here.

A folder whose videos all lie exactly one folder down, in two folders or more, names their classes. Groups (clips of one
source, to be kept on one side of a split) come from `groups.tsv` or `groups.csv` (path, group) in that folder, from the
group column of a CSV list, or from file names as UCF101 (`v_<class>_gNN_cMM`) and HMDB51 spell them.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from unreel.corpus.lists import (
    LIST_SUFFIXES,
    VIDEO_SUFFIXES,
    FileFinder,
    VideoEntry,
    normalize_name,
    read_hmdb51_rows,
    read_list,
    read_table,
)
from unreel.errors import InputError
from unreel.video.sources.packed_corpus import PackedCorpus, open_packed_corpus
from unreel.video.sources.paths import PIECE_SUFFIX, WORK_FOLDER, is_packed_corpus
from unreel.video.sources.source import open_source

_UCF101_NAME = re.compile(r"v_(?P<name>.+)_g(?P<group>\d+)_c\d+")
_HMDB51_NAME = re.compile(r"(?P<name>.+)_[fhul]_[nc]m_np\d+_(?:ba|fr|le|ri)_(?:bad|med|goo)_\d+")
LIST_SUBFOLDERS = ("", "ucfTrainTestlist", "testTrainMulti_7030_splits", "annotations", "labels", "splits")


class OfficialSplit(NamedTuple):
    """The two sides of an official split as the lists give them, files unchecked, and the lists they are from."""

    kind: str
    train: list[VideoEntry]
    test: list[VideoEntry]
    sources: tuple[str, str]
    num_unused: int = 0


def find_videos(source: Path, root: Path | None = None) -> list[VideoEntry]:
    """The videos of a folder (any depth, sorted), of a list (.txt, .csv, .tsv), or the one file given.

    In a folder hidden files and files without a video suffix are left out; a list is taken at its word, each file once.
    Relative paths of a list are relative to `root`, else to the list's own folder. Of a packed corpus all pieces, by
    their addresses. Raises InputError if there are none.
    """
    source = Path(source)
    if open_source(source).is_packed:
        return [VideoEntry(source)]
    if is_packed_corpus(source):
        return _find_in_corpus(open_packed_corpus(source))
    if (source / WORK_FOLDER).is_dir():
        raise InputError(f"{source}: packing was not finished; the same `unreel pack` again goes on with it")
    if source.is_dir():
        return _find_in_folder(source)
    if not source.is_file():
        raise InputError(f"{source}: no such folder or list. Give a folder of videos, or a list (.txt, .csv)")
    if source.suffix.lower() in LIST_SUFFIXES:
        root = source.parent if root is None else Path(root)
        return infer_labels(_drop_repeats(read_list(source, FileFinder(root)), source), root)
    return [VideoEntry(source, group=_parse_group(source))]


def read_official_split(
    list_folder: Path, split: int, folder: Path, kinds: tuple[str, ...] = ("UCF101", "HMDB51")
) -> OfficialSplit:
    """Split `number` of UCF101 (trainlist01.txt ...) or HMDB51 (<class>_test_split1.txt ...), with nothing checked.

    Files are known by class and name; the container may differ from the list's `.avi`. Raises InputError when there are
    no lists of these kinds.
    """
    found = FileFinder(folder, any_suffix=True)
    for base in (Path(list_folder) / sub for sub in LIST_SUBFOLDERS):
        train, test = base / f"trainlist{split:02d}.txt", base / f"testlist{split:02d}.txt"
        if "UCF101" in kinds and train.is_file() and test.is_file():
            return OfficialSplit("UCF101", read_list(train, found), read_list(test, found), (str(train), str(test)))
        lists = sorted(base.glob(f"*_test_split{split}.txt"))
        if "HMDB51" in kinds and lists:
            rows = [row for path in lists for row in read_hmdb51_rows(path, found)]
            train_rows, test_rows = ([item for item, side in rows if side == wanted] for wanted in "12")
            source = f"{base}/*_test_split{split}.txt"
            unused = len(rows) - len(train_rows) - len(test_rows)
            return OfficialSplit("HMDB51", train_rows, test_rows, (source, source), unused)
    raise InputError(
        f"{list_folder}: no official split {split}. Looked for trainlist{split:02d}.txt with testlist{split:02d}.txt "
        f"(UCF101) and for *_test_split{split}.txt (HMDB51), here and in {', '.join(LIST_SUBFOLDERS[1:])}"
    )


def walk_videos(folder: Path) -> Iterator[Path]:
    """Video files below a folder, and folders that can't be listed; links to folders are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    unlistable: list[Path] = []
    waiting = [folder]
    while waiting:
        for here, folders, files in os.walk(waiting.pop(0), onerror=lambda e: unlistable.append(Path(e.filename))):
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [path for name in folders if (path := Path(here, name)).is_symlink()]
            shown = (Path(here, name) for name in sorted(files) if not name.startswith("."))
            yield from (path for path in shown if path.suffix.lower() in VIDEO_SUFFIXES)
    yield from unlistable


def list_empty_folders(root: Path) -> list[str]:
    """Names of its folders that hold no video at any depth; those that hold lists are no classes, and left out."""
    ends = LIST_SUFFIXES | {".json"}
    plain = [
        path for path in _list_folders(root) if not any(name.suffix.lower() in ends for name in _list_directory(path))
    ]
    return [path.name for path in plain if next(walk_videos(path), None) is None]


def list_parent_folders(root: Path) -> list[Path]:
    """Its folders that hold folders themselves: UCF-101, hmdb51_org, whatever is unpacked next to the lists."""
    return [path for path in _list_folders(root) if _list_folders(path)]


def _list_folders(root: Path) -> list[Path]:
    return [path for path in _list_directory(root) if path.is_dir() and not path.name.startswith(".")]


def _list_directory(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # it can't be listed; `walk` names it
        return []


def _find_in_folder(folder: Path) -> list[VideoEntry]:
    paths = sorted(walk_videos(folder), key=lambda path: path.parts)
    if not paths:
        raise InputError(f"{folder}: no video in it or below it (looked for {' '.join(sorted(VIDEO_SUFFIXES))})")
    return infer_labels([VideoEntry(path) for path in paths], folder)


def _find_in_corpus(corpus: PackedCorpus) -> list[VideoEntry]:
    columns = (corpus.get_column(name) for name in ("shard", "key", "label", "group"))
    rows = zip(*columns, strict=True)
    return [
        VideoEntry(Path(f"{corpus.root}/{shard}#{key}{PIECE_SUFFIX}"), label, group)
        for shard, key, label, group in rows
    ]


def _drop_repeats(entries: Iterable[VideoEntry], source: Path) -> list[VideoEntry]:
    """Each file once, in order. Raises InputError if a list gives one file two labels."""
    first: dict[str, VideoEntry] = {}
    for item in entries:
        known = first.setdefault(os.path.abspath(item.path), item)
        if known.label != item.label:
            raise InputError(f"{source}: {item.path} has two labels, {known.label!r} and {item.label!r}")
    return list(first.values())


def infer_labels(entries: list[VideoEntry], root: Path) -> list[VideoEntry]:
    """Labels by class folder and groups by file or name, where the list itself gives none."""
    inside = [os.path.relpath(item.path, root) for item in entries]
    folders = {Path(path).parent for item, path in zip(entries, inside, strict=True) if not item.path.is_dir()}
    classes = len(folders) > 1 and all(len(folder.parts) == 1 and folder.name != ".." for folder in folders)
    groups = _read_groups(root)
    out = []
    for item, path in zip(entries, inside, strict=True):
        label = item.label or (Path(path).parent.name if classes else "")
        group = item.group or groups.get(normalize_name(path), "") or _parse_group(item.path)
        out.append(replace(item, label=label, group=group))
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
    """The source of a clip as UCF101 (`<class>_gNN`) and HMDB51 (film or upload) write it into the name, else ""."""
    if ucf101 := _UCF101_NAME.fullmatch(path.stem):
        return f"{ucf101['name']}_g{ucf101['group']}"
    hmdb51 = _HMDB51_NAME.fullmatch(path.stem)
    return hmdb51["name"].removesuffix(f"_{path.parent.name}") if hmdb51 else ""
