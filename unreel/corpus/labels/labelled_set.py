"""Labelled data sets for evaluation: which videos train, which test, of what class and group. Nothing is decoded.

Official lists come from the person's own download; none are shipped. A layout is known by the lists that are there, and
where two would fit nothing is guessed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from unreel.corpus.discovery import (
    LIST_SUBFOLDERS,
    OfficialSplit,
    find_videos,
    infer_labels,
    list_empty_folders,
    list_parent_folders,
    read_official_split,
)
from unreel.corpus.labels import annotations
from unreel.corpus.labels.annotations import DatasetRequest
from unreel.corpus.labels.packed_lists import read_packed_lists
from unreel.corpus.labels.subsets import SUBSET_TITLES, SUBSETS, ListedDataset
from unreel.corpus.labels.test_split import draw_test_split
from unreel.corpus.labels.validation import Problem, ValidationReport, require_valid, validate
from unreel.corpus.lists import FileFinder, VideoEntry, read_list, read_text
from unreel.errors import InputError, unknown_name_error
from unreel.io.text import pluralize, preview_items
from unreel.video.sources.paths import is_packed_corpus

SPLIT_NUMBERS = (1, 2, 3)
_LAYOUTS_WITH_SPLITS = {"ucf101", "hmdb51"}
_LIST_STEMS = {"train": ("train",), "validation": ("validation", "validate", "val"), "test": ("test",)}


@dataclass(frozen=True)
class LabelledSet:
    """Training, validation ([] where the data bring none) and test videos; `notes` say what was decided or left out."""

    name: str
    root: Path
    train: list[VideoEntry]
    validation: list[VideoEntry]
    test: list[VideoEntry]
    notes: list[str]


def load_labelled_set(
    data: Path,
    layout: str = "auto",
    split: int = 1,
    train: Path | None = None,
    test: Path | None = None,
    splits: Path | None = None,
    seed: int = 0,
) -> LabelledSet:
    """A labelled data set below `data`, its lists found there, in the folder `splits`, or given as `train` and `test`.

    `split` is the number of an official split, `seed` draws the test part where no list gives one. Raises InputError
    when the layout is unknown or unclear, a list can't be read, and for every problem that `check_set` reports.
    A packed corpus has the lists and the drawn test part of its originals.
    """
    if is_packed_corpus(data):
        found, pieces = read_packed_lists(
            data,
            lambda tree, p: load_labelled_set(
                tree, layout, split, p.relocate_list(train), p.relocate_list(test), splits, seed
            ),
        )
        sides = {part: pieces.map_to_pieces(getattr(found, part)) for part in SUBSETS}
        notes = [*map(pieces.restore_paths, found.notes), *pieces.describe_differences()]
        return LabelledSet(found.name, Path(data), sides["train"], sides["validation"], sides["test"], notes)
    parts = _read_layout(layout, _make_request(data, split, train, test, splits, seed))
    there, notes = require_valid(parts)
    return LabelledSet(parts.name, parts.root, there["train"], there["validation"], there["test"], notes)


def validate_labelled_set(
    data: Path,
    layout: str = "auto",
    split: int = 1,
    train: Path | None = None,
    test: Path | None = None,
    splits: Path | None = None,
    seed: int = 0,
) -> ValidationReport:
    """What is there of a labelled data set and what is missing; `load_set` takes it if `ok`, bad input is a problem."""
    if is_packed_corpus(data):
        check, pieces = read_packed_lists(
            data,
            lambda tree, p: validate_labelled_set(
                tree, layout, split, p.relocate_list(train), p.relocate_list(test), splits, seed
            ),
        )
        problems = [
            Problem(pieces.restore_paths(p.description), pieces.restore_paths(p.remedy)) for p in check.problems
        ]
        return replace(check, root=Path(data), problems=problems, remarks=[*map(pieces.restore_paths, check.remarks)])
    try:
        return validate(_read_layout(layout, _make_request(data, split, train, test, splits, seed)))
    except InputError as error:
        return ValidationReport(layout, Path(data), problems=[Problem(str(error), "mend this first, then check again")])


def _make_request(
    data: Path, split: int, train: Path | None, test: Path | None, splits: Path | None, seed: int
) -> DatasetRequest:
    paths = [None if path is None else Path(path) for path in (train, test, splits)]
    return DatasetRequest(Path(data), split, paths[0], paths[1], paths[2], seed)


def _read_layout(layout: str, request: DatasetRequest) -> ListedDataset:
    if layout not in LAYOUTS:
        raise unknown_name_error("layout", layout, LAYOUTS)
    for folder, what in (
        (request.data, "the folder that holds the videos"),
        (request.splits, "the folder of the lists"),
    ):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder}: no such folder. Give {what}")
    name = _detect_layout(request) if layout == "auto" else layout
    if request.split not in SPLIT_NUMBERS or (request.split != 1 and name not in _LAYOUTS_WITH_SPLITS):
        known = "splits 1, 2 and 3" if name in _LAYOUTS_WITH_SPLITS else "no numbered splits (UCF101 and HMDB51 do)"
        raise InputError(f"split {request.split}: the layout {name} has {known}")
    if (request.train or request.test) and name != "lists":
        raise InputError(
            f"--train and --test name lists of your own, the layout {name} brings its own; give one of them"
        )
    return _LAYOUT_READERS[name].read(request)


def _detect_layout(request: DatasetRequest) -> str:
    if request.train or request.test:
        return "lists"
    fitting = [name for name, layout in _LAYOUT_READERS.items() if layout.matches(request)]
    if len(fitting) > 1:
        raise InputError(
            f"{request.list_folder}: lists of {len(fitting)} layouts; choose with --layout {' or '.join(fitting)}"
        )
    if not fitting and request.splits:
        looked = "; ".join(layout.description for name, layout in _LAYOUT_READERS.items() if name != "folders")
        raise InputError(f"{request.splits}: no lists of a known kind. Looked for {looked}")
    return fitting[0] if fitting else "folders"


def _read_class_folders(request: DatasetRequest) -> ListedDataset:
    """Classes by folder; the test part is drawn."""
    listed = find_videos(request.data)
    if not any(item.label for item in listed):
        stray = [item.path for item in listed if item.path.parent.parent != request.data]
        wrong = (
            f"{pluralize(len(stray), 'video')} elsewhere: {preview_items(stray)}"
            if stray
            else "there is one folder only"
        )
        raise InputError(
            f"{request.data}: no list, and no classes to tell by folder; two class folders or more directly in it, and "
            f"all videos in them, would do, but {wrong}. Else name lists with --train and --test"
        )
    train, test, torn = draw_test_split(listed, request.data, request.seed)
    share = f"{len(test)} of {len(listed)} videos ({100 * len(test) / len(listed):.0f} %)"
    notes = [f"no test list: {share} make the test part, drawn by whole groups with seed {request.seed}"]
    if torn:
        notes.append(
            f"{pluralize(len(torn), 'class')} not on both sides, for they share groups: {preview_items(torn, 5)}"
        )
    sources = {"train": str(request.data), "test": str(request.data)}
    parts = {"train": train, "test": test}
    return ListedDataset(
        "class folders", request.data, parts, sources, notes, list_empty_folders(request.data), str(request.data)
    )


def _find_user_list(request: DatasetRequest, subset: str) -> Path | None:
    """train.txt and the like; a CSV of Kinetics is none."""
    paths = (request.list_folder / f"{stem}{end}" for end in (".txt", ".csv", ".tsv") for stem in _LIST_STEMS[subset])
    return next((path for path in paths if path.is_file() and not annotations.is_kinetics_csv(path)), None)


def _read_user_lists(request: DatasetRequest) -> ListedDataset:
    """Lists of the person's own: path a line, or path,label[,group]."""
    given = {"train": request.train, "test": request.test}
    kept = [part for part in SUBSETS if part != "validation" or not any(given.values())]
    paths = {part: path for part in kept if (path := given.get(part) or _find_user_list(request, part))}
    for part in ("train", "test"):
        if part not in paths or not paths[part].is_file():
            where = paths.get(part, request.list_folder / f"{part}.txt")
            raise InputError(
                f"{where}: no such {SUBSET_TITLES[part]} list; name one with --{part} LIST (a path per line, or CSV)"
            )
    found = FileFinder(request.data)
    return ListedDataset(
        "lists",
        request.data,
        _infer_labels({part: read_list(path, found) for part, path in paths.items()}, request.data),
        {part: str(path) for part, path in paths.items()},
        classes=list_empty_folders(request.data),
        classes_source=str(request.data),
        tolerated_findings=frozenset({"empty"}),
    )


def _infer_labels(entries: dict[str, list[VideoEntry]], root: Path) -> dict[str, list[VideoEntry]]:
    """Labels and groups that the layout gives, found over all parts together."""
    every = iter(infer_labels([item for items in entries.values() for item in items], root))
    return {part: [next(every) for _ in items] for part, items in entries.items()}


def _make_official_reader(kind: str) -> Callable[[DatasetRequest], ListedDataset]:
    """UCF101 or HMDB51. Source: Soomro, Zamir and Shah 2012; Kuehne et al. 2011."""

    def read(asked: DatasetRequest) -> ListedDataset:
        lists, root = _locate_official_split(asked, kind)
        listed = _infer_labels({"train": lists.train, "test": lists.test}, root)
        sources = {"train": lists.sources[0], "test": lists.sources[1]}
        notes = (
            [f"{pluralize(lists.num_unused, 'video')} on neither side of this split, as its lists say"]
            if lists.num_unused
            else []
        )
        named = asked.find_list("classInd.txt") if kind == "UCF101" else None
        classes = _read_class_index(named) if named else []
        return ListedDataset(f"{kind} split {asked.split}", asked.data, listed, sources, notes, classes, str(named))

    return read


def _locate_official_split(request: DatasetRequest, kind: str) -> tuple[OfficialSplit, Path]:
    """The official lists and the folder that their paths belong to: the first under which any of the videos lies."""
    at_data = read_official_split(request.list_folder, request.split, request.data, (kind,))
    if _has_any_file(at_data):
        return at_data, request.data
    inside = (
        (read_official_split(request.list_folder, request.split, root, (kind,)), root)
        for root in list_parent_folders(request.data)
    )
    return next((placed for placed in inside if _has_any_file(placed[0])), (at_data, request.data))


def _has_any_file(split: OfficialSplit) -> bool:
    return any(item.path.is_file() for item in split.train + split.test)


def _read_class_index(path: Path) -> list[str]:
    """Lines like `1 ApplyEyeMakeup`."""
    lines = (line.split(maxsplit=1) for line in read_text(path).split("\n"))
    return [words[-1].strip() for words in lines if words]


def _make_list_matcher(*patterns: str) -> Callable[[DatasetRequest], bool]:
    """Is there a list with such a name in one of the places for lists?"""
    return lambda asked: any(
        next((asked.list_folder / sub).glob(pattern), None) is not None
        for sub in LIST_SUBFOLDERS
        for pattern in patterns
    )


class _LayoutReader(NamedTuple):
    description: str
    matches: Callable[[DatasetRequest], bool]
    read: Callable[[DatasetRequest], ListedDataset]


_LAYOUT_READERS = {
    "folders": _LayoutReader("a folder per class; the test part is drawn", lambda asked: False, _read_class_folders),
    "lists": _LayoutReader(
        "train.txt and test.txt, or train.csv, val.csv, test.csv (path,label[,group])",
        lambda asked: any(_find_user_list(asked, part) for part in ("train", "test")),
        _read_user_lists,
    ),
    "ucf101": _LayoutReader(
        "UCF101: trainlist01.txt, testlist01.txt",
        _make_list_matcher("trainlist0[123].txt", "testlist0[123].txt"),
        _make_official_reader("UCF101"),
    ),
    "hmdb51": _LayoutReader(
        "HMDB51: <class>_test_split1.txt", _make_list_matcher("*_test_split[123].txt"), _make_official_reader("HMDB51")
    ),
    "kinetics": _LayoutReader(
        "Kinetics: train.csv, validate.csv (label,youtube_id,time_start,time_end,split)",
        lambda asked: any(annotations.find_kinetics_list(asked, part) for part in SUBSETS),
        annotations.read_kinetics,
    ),
    "ssv2": _LayoutReader(
        "Something-Something V2: something-something-v2-train.json, -validation.json",
        annotations.has_ssv2_lists,
        annotations.read_ssv2,
    ),
    "diving48": _LayoutReader(
        "Diving48: Diving48_V2_train.json, Diving48_V2_test.json",
        lambda asked: any(annotations.find_diving48_list(asked, part) for part in ("train", "test")),
        annotations.read_diving48,
    ),
}
LAYOUTS = {"auto": "found by the lists that are there"} | {
    name: reader.description for name, reader in _LAYOUT_READERS.items()
}
