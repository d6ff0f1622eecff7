"""What a labelled data set's lists say against what is on disk: problems, remarks and the videos that can be used."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from unreel.errors import InputError
from unreel.video.layouts import walk
from unreel.video.lists import Listed, respelled

PARTS = ("train", "validation", "test")
SIDES = {"train": "training", "validation": "validation", "test": "test"}


@dataclass
class Parts:
    """A data set as its lists give it, nothing checked; a file that is not found keeps the path the list gives it.

    `classes` are those that `classes_from` names. `allowed` findings ("missing", "empty") are said and not refused.
    """

    name: str
    root: Path
    listed: dict[str, list[Listed]]
    sources: dict[str, str]
    notes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    classes_from: str = ""
    allowed: frozenset[str] = frozenset()


class Problem(NamedTuple):
    """Why the data set can't be used, and what to do about it."""

    what: str
    remedy: str


@dataclass
class SetCheck:
    """What is there of a labelled data set and what is missing. `counts`: videos and classes of each part."""

    name: str
    root: Path
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    left_out: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems

    def lines(self) -> list[str]:
        """For the terminal; the last line says "complete" or what to do."""
        counts = [f"  {part}: {many(n, 'video')}, {many(k, 'class')}" for part, (n, k) in self.counts.items() if n]
        found = [f"  problem: {problem.what}" for problem in self.problems]
        said = [f"  note: {remark}" for remark in self.remarks]
        todo = "; ".join(dict.fromkeys(problem.remedy for problem in self.problems))
        gaps = f", but for {many(self.left_out, 'missing video')} left out" if self.left_out else ""
        return [f"{self.name} in {self.root}", *counts, *found, *said, f"to do: {todo}" if todo else f"complete{gaps}"]


def some(items: Iterable[object], shown: int = 3) -> str:
    """The first few, and dots if there are more."""
    names = [str(item) for item in items]
    return ", ".join(names[:shown]) + (" ..." if len(names) > shown else "")


def many(count: int, noun: str) -> str:
    """A count with its noun in the right number."""
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def inspect(parts: Parts) -> tuple[dict[str, list[Listed]], SetCheck]:
    """The videos of each part that can be used, each file once, and everything found on the way."""
    check = SetCheck(parts.name, parts.root, remarks=list(parts.notes))
    real = _real_paths()
    there = {part: _once(_there(parts, part, check), parts.sources.get(part, ""), real, check) for part in PARTS}
    check.counts = {part: (len(items), len({item.label for item in items})) for part, items in there.items()}
    for part in ("train", "test"):
        if not there[part] and not check.problems:
            what = f"{parts.sources.get(part, parts.root)}: the {SIDES[part]} list names no video"
            check.problems.append(Problem(what, f"name videos in the {SIDES[part]} list"))
    _without_class(there, check)
    _in_two_parts(there, real, check)
    _empty_classes(parts, there, check)
    check.remarks += _one_sided(there)
    return there, check


def usable(parts: Parts) -> tuple[dict[str, list[Listed]], list[str]]:
    """The videos of each part and the remarks. Raises InputError with the first problem and its remedy."""
    there, check = inspect(parts)
    if check.problems:
        first, more = check.problems[0], len(check.problems) - 1
        tail = f" ({many(more, 'more problem')})" if more else ""
        raise InputError(f"{first.what}. To do: {first.remedy}{tail}")
    return there, check.remarks


def full_check(parts: Parts) -> SetCheck:
    """`inspect`, with remarks on what does no harm to a figure, or flatters it: shared groups, videos in no list."""
    there, check = inspect(parts)
    check.remarks += _shared_groups(there)
    real = _real_paths()
    known = {real(item.path) for items in parts.listed.values() for item in items}
    beside = [path for path in walk(parts.root) if path.is_file() and real(path) not in known]
    if beside:
        check.remarks.append(f"{many(len(beside), 'video')} below {parts.root} in no list: {some(beside)}")
    return check


def _there(parts: Parts, part: str, check: SetCheck) -> list[Listed]:
    """Those whose file exists; the others are told."""
    listed, source = parts.listed.get(part, []), parts.sources.get(part, "")
    found = [item.path.is_file() for item in listed]
    there = [item for item, is_there in zip(listed, found, strict=True) if is_there]
    lost = [item.path for item, is_there in zip(listed, found, strict=True) if not is_there]
    if not lost:
        return there
    what = f"{source}: {many(len(lost), 'video')} listed but not found: {some(lost)}"
    if there and "missing" in parts.allowed:
        check.left_out += len(lost)
        check.remarks.append(f"{what}; left out, {len(there)} of {len(listed)} are there")
    else:
        check.problems.append(Problem(what, "put the missing videos in their place or take them out of the lists"))
    return there


def _real_paths() -> Callable[[Path], str]:
    """os.path.realpath that resolves each folder once."""
    folders: dict[str, str] = {}

    def real(path: Path) -> str:
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.join(folders[folder], name)

    return real


def _once(items: list[Listed], source: str, real: Callable[[Path], str], check: SetCheck) -> list[Listed]:
    """Each file of a list once, in order; a file under two classes is a problem."""
    first: dict[str, Listed] = {}
    two = [item for item in items if first.setdefault(real(item.path), item).label != item.label]
    if two:
        known = first[real(two[0].path)]
        what = f"{source}: {many(len(two), 'video')} with two labels: {two[0].path} ({known.label!r}, {two[0].label!r})"
        check.problems.append(Problem(what, "give each video one class"))
    elif len(items) > len(first):
        check.remarks.append(f"{source}: {many(len(items) - len(first), 'repeated line')}; each file counts once")
    return list(first.values())


def _without_class(there: dict[str, list[Listed]], check: SetCheck) -> None:
    for part, items in there.items():
        bare = [item.path for item in items if not item.label]
        if bare:
            what = f"{many(len(bare), 'video')} of the {SIDES[part]} list without a class: {some(bare)}"
            remedy = "put each class in a folder of its own, or write lists with the columns path,label"
            check.problems.append(Problem(what, remedy))


def _in_two_parts(there: dict[str, list[Listed]], real: Callable[[Path], str], check: SetCheck) -> None:
    files = {part: {real(item.path): item.path for item in items} for part, items in there.items()}
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        twice = [path for name, path in files[other].items() if name in files[one]]
        if twice:
            what = f"{many(len(twice), 'video')} in both lists, {SIDES[one]} and {SIDES[other]}: {some(twice)}"
            check.problems.append(Problem(what, "keep each video in one list; a query would find itself"))


def _empty_classes(parts: Parts, there: dict[str, list[Listed]], check: SetCheck) -> None:
    shown = {respelled(item.label) for items in there.values() for item in items}
    empty = [name for name in parts.classes if respelled(name) not in shown]
    if not empty or not shown:
        return
    what = f"{parts.classes_from}: {many(len(empty), 'class')} without a video: {some(empty, 5)}"
    if "empty" in parts.allowed:
        check.remarks.append(what)
    else:
        check.problems.append(Problem(what, "add videos of these classes, or take the classes out"))


def _one_sided(there: dict[str, list[Listed]]) -> list[str]:
    """Classes that only the test part has can't be answered; those that only the training part has just distract."""
    train, test = ({item.label for item in there[part]} for part in ("train", "test"))
    said = []
    if train and test - train:
        count = sum(item.label not in train for item in there["test"])
        names = some(sorted(test - train), 5)
        said.append(
            f"{many(len(test - train), 'class')} only in the test list, so {many(count, 'test video')} "
            f"can't be answered right: {names}"
        )
    if test and train - test:
        said.append(f"{many(len(train - test), 'class')} only in the training list: {some(sorted(train - test), 5)}")
    return said


def _shared_groups(there: dict[str, list[Listed]]) -> list[str]:
    train, test = ({item.group for item in there[part] if item.group} for part in ("train", "test"))
    both = sorted(train & test)
    if not both:
        return []
    return [
        f"{many(len(both), 'group')} in both lists, training and test: {some(both, 5)}; recordings of a group "
        "look alike, which flatters"
    ]
