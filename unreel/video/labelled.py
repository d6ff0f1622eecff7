"""Labelled data sets for evaluation: which videos train, which test, of what class and group. Nothing is decoded.

Official lists come from the person's own download; none are shipped. A layout is known by the lists that are there, and
where two would fit nothing is guessed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from unreel.errors import InputError, unknown
from unreel.video import annotations
from unreel.video.addresses import is_packed
from unreel.video.annotations import Asked
from unreel.video.held_out import hold_out
from unreel.video.layouts import (
    SUBFOLDERS,
    Official,
    barren_folders,
    described,
    find_videos,
    nesting_folders,
    official_lists,
)
from unreel.video.lists import Folder, Listed, read_list, read_text
from unreel.video.packed_lists import read_beside
from unreel.video.set_check import PARTS, SIDES, Parts, Problem, SetCheck, full_check, many, some, usable

SPLITS = (1, 2, 3)
_NUMBERED = {"ucf101", "hmdb51"}
_LIST_NAMES = {"train": ("train",), "validation": ("validation", "validate", "val"), "test": ("test",)}


@dataclass(frozen=True)
class LabelledSet:
    """Training, validation ([] where the data bring none) and test videos; `notes` say what was decided or left out."""

    name: str
    root: Path
    train: list[Listed]
    validation: list[Listed]
    test: list[Listed]
    notes: list[str]


def load_set(
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
    if is_packed(data):
        found, pieces = read_beside(
            data, lambda tree, p: load_set(tree, layout, split, p.beside(train), p.beside(test), splits, seed)
        )
        sides = {part: pieces.exchanged(getattr(found, part)) for part in PARTS}
        notes = [*map(pieces.named, found.notes), *pieces.notes()]
        return LabelledSet(found.name, Path(data), sides["train"], sides["validation"], sides["test"], notes)
    parts = _parts(layout, _asked(data, split, train, test, splits, seed))
    there, notes = usable(parts)
    return LabelledSet(parts.name, parts.root, there["train"], there["validation"], there["test"], notes)


def check_set(
    data: Path,
    layout: str = "auto",
    split: int = 1,
    train: Path | None = None,
    test: Path | None = None,
    splits: Path | None = None,
    seed: int = 0,
) -> SetCheck:
    """What is there of a labelled data set and what is missing; `load_set` takes it if `ok`, bad input is a problem."""
    if is_packed(data):
        check, pieces = read_beside(
            data, lambda tree, p: check_set(tree, layout, split, p.beside(train), p.beside(test), splits, seed)
        )
        problems = [Problem(pieces.named(p.what), pieces.named(p.remedy)) for p in check.problems]
        return replace(check, root=Path(data), problems=problems, remarks=[*map(pieces.named, check.remarks)])
    try:
        return full_check(_parts(layout, _asked(data, split, train, test, splits, seed)))
    except InputError as error:
        return SetCheck(layout, Path(data), problems=[Problem(str(error), "mend this first, then check again")])


def _asked(data: Path, split: int, train: Path | None, test: Path | None, splits: Path | None, seed: int) -> Asked:
    paths = [None if path is None else Path(path) for path in (train, test, splits)]
    return Asked(Path(data), split, paths[0], paths[1], paths[2], seed)


def _parts(layout: str, asked: Asked) -> Parts:
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    for folder, what in ((asked.data, "the folder that holds the videos"), (asked.splits, "the folder of the lists")):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder}: no such folder. Give {what}")
    name = _detected(asked) if layout == "auto" else layout
    if asked.split not in SPLITS or (asked.split != 1 and name not in _NUMBERED):
        known = "splits 1, 2 and 3" if name in _NUMBERED else "no numbered splits (UCF101 and HMDB51 do)"
        raise InputError(f"split {asked.split}: the layout {name} has {known}")
    if (asked.train or asked.test) and name != "lists":
        raise InputError(
            f"--train and --test name lists of your own, the layout {name} brings its own; give one of them"
        )
    return _READERS[name].read(asked)


def _detected(asked: Asked) -> str:
    if asked.train or asked.test:
        return "lists"
    fitting = [name for name, layout in _READERS.items() if layout.fits(asked)]
    if len(fitting) > 1:
        raise InputError(f"{asked.lists}: lists of {len(fitting)} layouts; choose with --layout {' or '.join(fitting)}")
    if not fitting and asked.splits:
        looked = "; ".join(layout.about for name, layout in _READERS.items() if name != "folders")
        raise InputError(f"{asked.splits}: no lists of a known kind. Looked for {looked}")
    return fitting[0] if fitting else "folders"


def _folders(asked: Asked) -> Parts:
    """Classes by folder; the test part is drawn."""
    listed = find_videos(asked.data)
    if not any(item.label for item in listed):
        stray = [item.path for item in listed if item.path.parent.parent != asked.data]
        wrong = f"{many(len(stray), 'video')} elsewhere: {some(stray)}" if stray else "there is one folder only"
        raise InputError(
            f"{asked.data}: no list, and no classes to tell by folder; two class folders or more directly in it, and "
            f"all videos in them, would do, but {wrong}. Else name lists with --train and --test"
        )
    train, test, torn = hold_out(listed, asked.data, asked.seed)
    share = f"{len(test)} of {len(listed)} videos ({100 * len(test) / len(listed):.0f} %)"
    notes = [f"no test list: {share} make the test part, drawn by whole groups with seed {asked.seed}"]
    if torn:
        notes.append(f"{many(len(torn), 'class')} not on both sides, for they share groups: {some(torn, 5)}")
    sources = {"train": str(asked.data), "test": str(asked.data)}
    parts = {"train": train, "test": test}
    return Parts("class folders", asked.data, parts, sources, notes, barren_folders(asked.data), str(asked.data))


def _own_list(asked: Asked, part: str) -> Path | None:
    """train.txt and the like; a CSV of Kinetics is none."""
    paths = (asked.lists / f"{stem}{end}" for end in (".txt", ".csv", ".tsv") for stem in _LIST_NAMES[part])
    return next((path for path in paths if path.is_file() and not annotations.is_kinetics(path)), None)


def _lists(asked: Asked) -> Parts:
    """Lists of the person's own: path a line, or path,label[,group]."""
    given = {"train": asked.train, "test": asked.test}
    kept = [part for part in PARTS if part != "validation" or not any(given.values())]
    paths = {part: path for part in kept if (path := given.get(part) or _own_list(asked, part))}
    for part in ("train", "test"):
        if part not in paths or not paths[part].is_file():
            where = paths.get(part, asked.lists / f"{part}.txt")
            raise InputError(
                f"{where}: no such {SIDES[part]} list; name one with --{part} LIST (a path per line, or CSV)"
            )
    found = Folder(asked.data)
    return Parts(
        "lists",
        asked.data,
        _describe({part: read_list(path, found) for part, path in paths.items()}, asked.data),
        {part: str(path) for part, path in paths.items()},
        classes=barren_folders(asked.data),
        classes_from=str(asked.data),
        allowed=frozenset({"empty"}),
    )


def _describe(listed: dict[str, list[Listed]], root: Path) -> dict[str, list[Listed]]:
    """Labels and groups that the layout gives, found over all parts together."""
    every = iter(described([item for items in listed.values() for item in items], root))
    return {part: [next(every) for _ in items] for part, items in listed.items()}


def _official(kind: str) -> Callable[[Asked], Parts]:
    """UCF101 or HMDB51. Source: Soomro, Zamir and Shah 2012; Kuehne et al. 2011."""

    def read(asked: Asked) -> Parts:
        lists, root = _placed(asked, kind)
        listed = _describe({"train": lists.train, "test": lists.test}, root)
        sources = {"train": lists.sources[0], "test": lists.sources[1]}
        notes = (
            [f"{many(lists.unused, 'video')} on neither side of this split, as its lists say"] if lists.unused else []
        )
        named = asked.find("classInd.txt") if kind == "UCF101" else None
        classes = _class_names(named) if named else []
        return Parts(f"{kind} split {asked.split}", asked.data, listed, sources, notes, classes, str(named))

    return read


def _placed(asked: Asked, kind: str) -> tuple[Official, Path]:
    """The official lists and the folder that their paths belong to: the first under which any of the videos lies."""
    at_data = official_lists(asked.lists, asked.split, asked.data, (kind,))
    if _any_there(at_data):
        return at_data, asked.data
    inside = ((official_lists(asked.lists, asked.split, root, (kind,)), root) for root in nesting_folders(asked.data))
    return next((placed for placed in inside if _any_there(placed[0])), (at_data, asked.data))


def _any_there(lists: Official) -> bool:
    return any(item.path.is_file() for item in lists.train + lists.test)


def _class_names(path: Path) -> list[str]:
    """Lines like `1 ApplyEyeMakeup`."""
    lines = (line.split(maxsplit=1) for line in read_text(path).split("\n"))
    return [words[-1].strip() for words in lines if words]


def _holds(*patterns: str) -> Callable[[Asked], bool]:
    """Is there a list with such a name in one of the places for lists?"""
    return lambda asked: any(
        next((asked.lists / sub).glob(pattern), None) is not None for sub in SUBFOLDERS for pattern in patterns
    )


class _Reader(NamedTuple):
    about: str
    fits: Callable[[Asked], bool]
    read: Callable[[Asked], Parts]


_READERS = {
    "folders": _Reader("a folder per class; the test part is drawn", lambda asked: False, _folders),
    "lists": _Reader(
        "train.txt and test.txt, or train.csv, val.csv, test.csv (path,label[,group])",
        lambda asked: any(_own_list(asked, part) for part in ("train", "test")),
        _lists,
    ),
    "ucf101": _Reader(
        "UCF101: trainlist01.txt, testlist01.txt",
        _holds("trainlist0[123].txt", "testlist0[123].txt"),
        _official("UCF101"),
    ),
    "hmdb51": _Reader("HMDB51: <class>_test_split1.txt", _holds("*_test_split[123].txt"), _official("HMDB51")),
    "kinetics": _Reader(
        "Kinetics: train.csv, validate.csv (label,youtube_id,time_start,time_end,split)",
        lambda asked: any(annotations.kinetics_list(asked, part) for part in PARTS),
        annotations.kinetics,
    ),
    "ssv2": _Reader(
        "Something-Something V2: something-something-v2-train.json, -validation.json",
        annotations.is_something,
        annotations.something,
    ),
    "diving48": _Reader(
        "Diving48: Diving48_V2_train.json, Diving48_V2_test.json",
        lambda asked: any(annotations.diving48_list(asked, part) for part in ("train", "test")),
        annotations.diving48,
    ),
}
LAYOUTS = {"auto": "found by the lists that are there"} | {name: reader.about for name, reader in _READERS.items()}
