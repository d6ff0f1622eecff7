"""The official splits of UCF101 and HMDB51, read from the lists of the user's own download; none are shipped."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from unreel.corpus.discovery import list_parent_folders
from unreel.corpus.labels.listed_dataset import LIST_SUBFOLDERS, DatasetRequest, ListedDataset, infer_subset_labels
from unreel.corpus.lists import FileFinder, VideoEntry, read_lines, read_list
from unreel.errors import InputError
from unreel.io.text import format_count

SPLIT_NUMBERS = (1, 2, 3)


class OfficialSplit(NamedTuple):
    """Both sides of an official split as the lists give them, nothing checked, and the lists themselves."""

    kind: str
    train: list[VideoEntry]
    test: list[VideoEntry]
    sources: tuple[str, str]
    num_unused: int = 0


def read_ucf101(request: DatasetRequest) -> ListedDataset:
    """UCF101, class names from classInd.txt. Source: Soomro, Zamir and Shah 2012."""
    class_index = request.find_list("classInd.txt")
    dataset = _read_dataset(request, "UCF101")
    dataset.classes = _read_class_index(class_index) if class_index else []
    dataset.classes_source = str(class_index)
    return dataset


def read_hmdb51(request: DatasetRequest) -> ListedDataset:
    """HMDB51. Source: Kuehne et al. 2011."""
    return _read_dataset(request, "HMDB51")


def _read_dataset(request: DatasetRequest, kind: str) -> ListedDataset:
    split, root = _locate_split(request, kind)
    entries = infer_subset_labels({"train": split.train, "test": split.test}, root)
    sources = {"train": split.sources[0], "test": split.sources[1]}
    unused = f"{format_count(split.num_unused, 'video')} on neither side of this split, as its lists say"
    notes = [unused] if split.num_unused else []
    return ListedDataset(f"{kind} split {request.split}", request.data, entries, sources, notes)


def _locate_split(request: DatasetRequest, kind: str) -> tuple[OfficialSplit, Path]:
    """The official lists, and the folder that their paths are relative to: the first that holds any of the videos."""
    at_data = read_official_split(request.list_folder, request.split, request.data, (kind,))
    if _has_any_file(at_data):
        return at_data, request.data
    for root in list_parent_folders(request.data):
        split = read_official_split(request.list_folder, request.split, root, (kind,))
        if _has_any_file(split):
            return split, root
    return at_data, request.data


def _has_any_file(split: OfficialSplit) -> bool:
    return any(entry.path.is_file() for entry in split.train + split.test)


def read_official_split(
    list_folder: Path, split: int, folder: Path, kinds: tuple[str, ...] = ("UCF101", "HMDB51")
) -> OfficialSplit:
    """Split `split` of UCF101 (trainlist01.txt ...) or HMDB51 (<class>_test_split1.txt ...), nothing checked.

    Files are found below `folder` by class and name; the container may differ from the list's `.avi`. Raises InputError
    when there are no lists of these kinds.
    """
    finder = FileFinder(folder, any_suffix=True)
    for base in (Path(list_folder) / name for name in LIST_SUBFOLDERS):
        train, test = base / f"trainlist{split:02d}.txt", base / f"testlist{split:02d}.txt"
        if "UCF101" in kinds and train.is_file() and test.is_file():
            return OfficialSplit("UCF101", read_list(train, finder), read_list(test, finder), (str(train), str(test)))
        paths = sorted(base.glob(f"*_test_split{split}.txt"))
        if "HMDB51" in kinds and paths:
            return _read_hmdb51_split(paths, f"{base}/*_test_split{split}.txt", finder)
    raise InputError(
        f"{list_folder}: no official split {split}. Looked for trainlist{split:02d}.txt with testlist{split:02d}.txt "
        f"(UCF101) and for *_test_split{split}.txt (HMDB51), here and in {', '.join(LIST_SUBFOLDERS[1:])}"
    )


def _read_hmdb51_split(paths: list[Path], source: str, finder: FileFinder) -> OfficialSplit:
    rows = [row for path in paths for row in _read_hmdb51_rows(path, finder)]
    train, test = ([entry for entry, side in rows if side == wanted] for wanted in "12")
    return OfficialSplit("HMDB51", train, test, (source, source), len(rows) - len(train) - len(test))


def _read_hmdb51_rows(path: Path, finder: FileFinder) -> Iterator[tuple[VideoEntry, str]]:
    """Files of one class with their side: 1 train, 2 test, 0 unused. Names may begin with '#', so it is no comment."""
    label = re.sub(r"_test_split\d+$", "", path.stem)
    for number, line in enumerate(map(str.strip, read_lines(path)), start=1):
        if not line:
            continue
        name, _, side = line.rpartition(" ")
        if side not in set("012"):
            raise InputError(f"{path}, line {number}: {line!r} does not end with 0 (unused), 1 (train) or 2 (test)")
        listed_path = f"{label}/{name.strip()}"
        yield VideoEntry(finder.find(listed_path) or finder.root / listed_path, label), side


def _read_class_index(path: Path) -> list[str]:
    """Lines like `1 ApplyEyeMakeup`."""
    lines = (line.split(maxsplit=1) for line in read_lines(path))
    return [cells[-1].strip() for cells in lines if cells]
