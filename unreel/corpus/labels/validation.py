"""What a labelled data set's lists say against what is on disk: problems, remarks and the videos that can be used."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from unreel.corpus.discovery import walk_videos
from unreel.corpus.labels.subsets import SUBSET_TITLES, SUBSETS, ListedDataset
from unreel.corpus.lists import VideoEntry, normalize_name
from unreel.errors import InputError
from unreel.io.text import pluralize, preview_items


class Problem(NamedTuple):
    """Why the data set can't be used, and what to do about it."""

    description: str
    remedy: str


@dataclass
class ValidationReport:
    """What is there of a labelled data set and what is missing. `counts`: videos and classes of each part."""

    name: str
    root: Path
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    num_missing: int = 0

    @property
    def is_valid(self) -> bool:
        return not self.problems

    def format_lines(self) -> list[str]:
        """For the terminal; the last line says "complete" or what to do."""
        counts = [
            f"  {part}: {pluralize(n, 'video')}, {pluralize(k, 'class')}" for part, (n, k) in self.counts.items() if n
        ]
        found = [f"  problem: {problem.description}" for problem in self.problems]
        said = [f"  note: {remark}" for remark in self.remarks]
        todo = "; ".join(dict.fromkeys(problem.remedy for problem in self.problems))
        gaps = f", but for {pluralize(self.num_missing, 'missing video')} left out" if self.num_missing else ""
        return [f"{self.name} in {self.root}", *counts, *found, *said, f"to do: {todo}" if todo else f"complete{gaps}"]


def check_files(dataset: ListedDataset) -> tuple[dict[str, list[VideoEntry]], ValidationReport]:
    """The videos of each part that can be used, each file once, and everything found on the way."""
    check = ValidationReport(dataset.name, dataset.root, remarks=list(dataset.notes))
    real = _make_realpath()
    there = {
        part: _drop_repeats(_keep_existing(dataset, part, check), dataset.sources.get(part, ""), real, check)
        for part in SUBSETS
    }
    check.counts = {part: (len(items), len({item.label for item in items})) for part, items in there.items()}
    for part in ("train", "test"):
        if not there[part] and not check.problems:
            what = f"{dataset.sources.get(part, dataset.root)}: the {SUBSET_TITLES[part]} list names no video"
            check.problems.append(Problem(what, f"name videos in the {SUBSET_TITLES[part]} list"))
    _report_unlabelled(there, check)
    _report_overlap(there, real, check)
    _report_empty_classes(dataset, there, check)
    check.remarks += _describe_unshared_classes(there)
    return there, check


def require_valid(dataset: ListedDataset) -> tuple[dict[str, list[VideoEntry]], list[str]]:
    """The videos of each part and the remarks. Raises InputError with the first problem and its remedy."""
    there, check = check_files(dataset)
    if check.problems:
        first, more = check.problems[0], len(check.problems) - 1
        tail = f" ({pluralize(more, 'more problem')})" if more else ""
        raise InputError(f"{first.description}. To do: {first.remedy}{tail}")
    return there, check.remarks


def validate(dataset: ListedDataset) -> ValidationReport:
    """`inspect`, with remarks on what does no harm to a figure, or flatters it: shared groups, videos in no list."""
    there, check = check_files(dataset)
    check.remarks += _describe_shared_groups(there)
    real = _make_realpath()
    known = {real(item.path) for items in dataset.entries.values() for item in items}
    beside = [path for path in walk_videos(dataset.root) if path.is_file() and real(path) not in known]
    if beside:
        check.remarks.append(
            f"{pluralize(len(beside), 'video')} below {dataset.root} in no list: {preview_items(beside)}"
        )
    return check


def _keep_existing(dataset: ListedDataset, subset: str, report: ValidationReport) -> list[VideoEntry]:
    """Those whose file exists; the others are told."""
    listed, source = dataset.entries.get(subset, []), dataset.sources.get(subset, "")
    found = [item.path.is_file() for item in listed]
    there = [item for item, is_there in zip(listed, found, strict=True) if is_there]
    lost = [item.path for item, is_there in zip(listed, found, strict=True) if not is_there]
    if not lost:
        return there
    what = f"{source}: {pluralize(len(lost), 'video')} listed but not found: {preview_items(lost)}"
    if there and "missing" in dataset.tolerated_findings:
        report.num_missing += len(lost)
        report.remarks.append(f"{what}; left out, {len(there)} of {len(listed)} are there")
    else:
        report.problems.append(Problem(what, "put the missing videos in their place or take them out of the lists"))
    return there


def _make_realpath() -> Callable[[Path], str]:
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


def _drop_repeats(
    entries: list[VideoEntry], source: str, realpath: Callable[[Path], str], report: ValidationReport
) -> list[VideoEntry]:
    """Each file of a list once, in order; a file under two classes is a problem."""
    first: dict[str, VideoEntry] = {}
    two = [item for item in entries if first.setdefault(realpath(item.path), item).label != item.label]
    if two:
        known = first[realpath(two[0].path)]
        what = f"{source}: {pluralize(len(two), 'video')} with two labels: {two[0].path} ({known.label!r}, {two[0].label!r})"
        report.problems.append(Problem(what, "give each video one class"))
    elif len(entries) > len(first):
        report.remarks.append(
            f"{source}: {pluralize(len(entries) - len(first), 'repeated line')}; each file counts once"
        )
    return list(first.values())


def _report_unlabelled(entries: dict[str, list[VideoEntry]], report: ValidationReport) -> None:
    for part, items in entries.items():
        bare = [item.path for item in items if not item.label]
        if bare:
            what = f"{pluralize(len(bare), 'video')} of the {SUBSET_TITLES[part]} list without a class: {preview_items(bare)}"
            remedy = "put each class in a folder of its own, or write lists with the columns path,label"
            report.problems.append(Problem(what, remedy))


def _report_overlap(
    entries: dict[str, list[VideoEntry]], realpath: Callable[[Path], str], report: ValidationReport
) -> None:
    files = {part: {realpath(item.path): item.path for item in items} for part, items in entries.items()}
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        twice = [path for name, path in files[other].items() if name in files[one]]
        if twice:
            what = f"{pluralize(len(twice), 'video')} in both lists, {SUBSET_TITLES[one]} and {SUBSET_TITLES[other]}: {preview_items(twice)}"
            report.problems.append(Problem(what, "keep each video in one list; a query would find itself"))


def _report_empty_classes(
    dataset: ListedDataset, entries: dict[str, list[VideoEntry]], report: ValidationReport
) -> None:
    shown = {normalize_name(item.label) for items in entries.values() for item in items}
    empty = [name for name in dataset.classes if normalize_name(name) not in shown]
    if not empty or not shown:
        return
    what = f"{dataset.classes_source}: {pluralize(len(empty), 'class')} without a video: {preview_items(empty, 5)}"
    if "empty" in dataset.tolerated_findings:
        report.remarks.append(what)
    else:
        report.problems.append(Problem(what, "add videos of these classes, or take the classes out"))


def _describe_unshared_classes(entries: dict[str, list[VideoEntry]]) -> list[str]:
    """Classes that only the test part has can't be answered; those that only the training part has just distract."""
    train, test = ({item.label for item in entries[part]} for part in ("train", "test"))
    said = []
    if train and test - train:
        count = sum(item.label not in train for item in entries["test"])
        names = preview_items(sorted(test - train), 5)
        said.append(
            f"{pluralize(len(test - train), 'class')} only in the test list, so {pluralize(count, 'test video')} "
            f"can't be answered right: {names}"
        )
    if test and train - test:
        said.append(
            f"{pluralize(len(train - test), 'class')} only in the training list: {preview_items(sorted(train - test), 5)}"
        )
    return said


def _describe_shared_groups(entries: dict[str, list[VideoEntry]]) -> list[str]:
    train, test = ({item.group for item in entries[part] if item.group} for part in ("train", "test"))
    both = sorted(train & test)
    if not both:
        return []
    return [
        f"{pluralize(len(both), 'group')} in both lists, training and test: {preview_items(both, 5)}; recordings of a group "
        "look alike, which flatters"
    ]
