"""The layouts of labelled data sets: how each is recognised by its lists, and read. Ambiguous lists are an error."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from unreel.corpus.discovery import find_videos, list_empty_folders
from unreel.corpus.labels import annotations, official_splits
from unreel.corpus.labels.listed_dataset import (
    SUBSET_TITLES,
    SUBSETS,
    DatasetRequest,
    ListedDataset,
    infer_subset_labels,
)
from unreel.corpus.labels.test_split import draw_test_split
from unreel.corpus.lists import FileFinder, read_list
from unreel.errors import InputError, no_dataset_error, unknown_name_error
from unreel.io.text import format_count, preview_items

_LAYOUTS_WITH_SPLITS = {"ucf101", "hmdb51"}
_LIST_STEMS = {"train": ("train",), "validation": ("validation", "validate", "val"), "test": ("test",)}


def read_layout(layout: str, request: DatasetRequest) -> ListedDataset:
    """Read a data set in one of LAYOUTS. Raises InputError for a layout, folder or option that does not fit."""
    if layout not in LAYOUTS:
        raise unknown_name_error("layout", layout, LAYOUTS)
    for folder, content in ((request.data, "the videos"), (request.splits, "the lists")):
        if folder is not None and not folder.is_dir():
            raise no_dataset_error(folder, content)
    name = _detect_layout(request) if layout == "auto" else layout
    if request.split not in official_splits.SPLIT_NUMBERS or (request.split != 1 and name not in _LAYOUTS_WITH_SPLITS):
        known = "splits 1, 2 and 3" if name in _LAYOUTS_WITH_SPLITS else "no numbered splits (UCF101 and HMDB51 do)"
        raise InputError(f"split {request.split}: the layout {name} has {known}")
    if (request.train or request.test) and name != "lists":
        raise InputError(f"--train and --test name lists, but the layout {name} has its own; give only one of them")
    return _LAYOUT_READERS[name].read(request)


def _detect_layout(request: DatasetRequest) -> str:
    if request.train or request.test:
        return "lists"
    names = [name for name, layout in _LAYOUT_READERS.items() if layout.matches(request)]
    if len(names) > 1:
        raise InputError(
            f"{request.list_folder}: lists of {len(names)} layouts; choose with --layout {' or '.join(names)}"
        )
    if not names and request.splits:
        expected = "; ".join(layout.description for name, layout in _LAYOUT_READERS.items() if name != "folders")
        raise InputError(f"{request.splits}: no lists of a known kind. Looked for {expected}")
    return names[0] if names else "folders"


def _read_class_folders(request: DatasetRequest) -> ListedDataset:
    """Classes by folder; the test part is drawn."""
    entries = find_videos(request.data)
    if not any(entry.label for entry in entries):
        raise _no_classes_error(request.data, [entry.path for entry in entries])
    train, test, one_sided = draw_test_split(entries, request.data, request.seed)
    share = f"{len(test)} of {len(entries)} videos ({100 * len(test) / len(entries):.0f} %)"
    notes = [f"no test list: {share} make the test part, drawn by whole groups with seed {request.seed}"]
    if one_sided:
        count, names = format_count(len(one_sided), "class"), preview_items(one_sided, 5)
        notes.append(f"{count} not on both sides, because classes share groups: {names}")
    root = str(request.data)
    return ListedDataset(
        "class folders",
        request.data,
        {"train": train, "test": test},
        {"train": root, "test": root},
        notes,
        list_empty_folders(request.data),
        root,
    )


def _no_classes_error(root: Path, paths: list[Path]) -> InputError:
    """Says what is missing, and both ways to give labels."""
    misplaced = [path for path in paths if path.parent.parent != root]
    reason = "there is one folder only"
    if len(misplaced) == len(paths) and all(path.parent == root for path in paths):
        reason = f"{format_count(len(paths), 'video')} directly in it, in no folder"
    elif misplaced:
        reason = f"{format_count(len(misplaced), 'video')} elsewhere: {preview_items(misplaced)}"
    return InputError(
        f"{root}: its videos have no labels, which an evaluation compares with: no list (train.txt and test.txt), and "
        f"no class folders (two or more folders directly in it that hold all videos): {reason}. Sort the videos into "
        f"class folders ({root / 'CLASS' / 'VIDEO.mp4'}), or name lists with the columns path,label: "
        "--train TRAIN.csv --test TEST.csv"
    )


def _read_user_lists(request: DatasetRequest) -> ListedDataset:
    """Lists of the user: a path per line, or path,label[,group]."""
    named = {"train": request.train, "test": request.test}
    subsets = [subset for subset in SUBSETS if subset != "validation" or not any(named.values())]
    paths = {s: path for s in subsets if (path := named.get(s) or _find_user_list(request, s))}
    for subset in ("train", "test"):
        if subset not in paths or not paths[subset].is_file():
            path = paths.get(subset, request.list_folder / f"{subset}.txt")
            raise InputError(
                f"{path}: no such {SUBSET_TITLES[subset]} list; name one with --{subset} LIST (a path per line, or CSV)"
            )
    finder = FileFinder(request.data)
    return ListedDataset(
        "lists",
        request.data,
        infer_subset_labels({subset: read_list(path, finder) for subset, path in paths.items()}, request.data),
        {subset: str(path) for subset, path in paths.items()},
        classes=list_empty_folders(request.data),
        classes_source=str(request.data),
        allows_empty_classes=True,
    )


def _find_user_list(request: DatasetRequest, subset: str) -> Path | None:
    """train.txt and the like; a CSV of Kinetics does not count."""
    names = [f"{stem}{suffix}" for suffix in (".txt", ".csv", ".tsv") for stem in _LIST_STEMS[subset]]
    paths = (request.list_folder / name for name in names)
    return next((path for path in paths if path.is_file() and not annotations.is_kinetics_csv(path)), None)


class _LayoutReader(NamedTuple):
    description: str
    matches: Callable[[DatasetRequest], bool]
    read: Callable[[DatasetRequest], ListedDataset]


_LAYOUT_READERS = {
    "folders": _LayoutReader("a folder per class; the test part is drawn", lambda request: False, _read_class_folders),
    "lists": _LayoutReader(
        "train.txt and test.txt, or train.csv, val.csv, test.csv (path,label[,group])",
        lambda request: any(_find_user_list(request, subset) for subset in ("train", "test")),
        _read_user_lists,
    ),
    "ucf101": _LayoutReader(
        "UCF101: trainlist01.txt, testlist01.txt",
        lambda request: request.matches_list("trainlist0[123].txt", "testlist0[123].txt"),
        official_splits.read_ucf101,
    ),
    "hmdb51": _LayoutReader(
        "HMDB51: <class>_test_split1.txt",
        lambda request: request.matches_list("*_test_split[123].txt"),
        official_splits.read_hmdb51,
    ),
    "kinetics": _LayoutReader(
        "Kinetics: train.csv, validate.csv (label,youtube_id,time_start,time_end,split)",
        lambda request: any(annotations.find_kinetics_list(request, subset) for subset in SUBSETS),
        annotations.read_kinetics,
    ),
    "ssv2": _LayoutReader(
        "Something-Something V2: something-something-v2-train.json, -validation.json",
        annotations.has_ssv2_lists,
        annotations.read_ssv2,
    ),
    "diving48": _LayoutReader(
        "Diving48: Diving48_V2_train.json, Diving48_V2_test.json",
        lambda request: any(annotations.find_diving48_list(request, subset) for subset in ("train", "test")),
        annotations.read_diving48,
    ),
}
LAYOUTS = {"auto": "recognised by its lists"} | {name: reader.description for name, reader in _LAYOUT_READERS.items()}
