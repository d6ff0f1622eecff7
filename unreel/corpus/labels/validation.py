"""Comparing the lists of a labelled data set with the files on the disk: problems, notes and the usable videos."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from unreel.corpus.discovery import walk_videos
from unreel.corpus.labels.listed_dataset import SUBSET_TITLES, SUBSETS, ListedDataset
from unreel.corpus.lists import VideoEntry, normalize_name
from unreel.errors import InputError
from unreel.io.text import format_count, preview_items

SubsetEntries = dict[str, list[VideoEntry]]


class Problem(NamedTuple):
    """Why the data set can't be used, and what to do about it."""

    description: str
    fix: str


@dataclass
class ValidationReport:
    """What a labelled data set has and what it lacks. `counts`: videos and classes of each part."""

    name: str
    root: Path
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_missing: int = 0

    @property
    def is_valid(self) -> bool:
        return not self.problems

    def add_problem(self, description: str, fix: str) -> None:
        self.problems.append(Problem(description, fix))

    def format_lines(self) -> list[str]:
        """Lines for the terminal; the last one says "complete" or what to do."""
        counts = [
            f"  {subset}: {format_count(num_videos, 'video')}, {format_count(num_classes, 'class')}"
            for subset, (num_videos, num_classes) in self.counts.items()
            if num_videos
        ]
        problems = [f"  problem: {problem.description}" for problem in self.problems]
        notes = [f"  note: {note}" for note in self.notes]
        fixes = "; ".join(dict.fromkeys(problem.fix for problem in self.problems))
        gaps = f", except {format_count(self.num_missing, 'missing video')} left out" if self.num_missing else ""
        verdict = f"to do: {fixes}" if fixes else f"complete{gaps}"
        return [f"{self.name} in {self.root}", *counts, *problems, *notes, verdict]

    def list_findings(self) -> list[dict[str, Any]]:
        """A record for each part of the set, each problem and each note."""
        parts = [
            {"kind": "part", "subject": subset, "videos": num_videos, "classes": num_classes}
            for subset, (num_videos, num_classes) in self.counts.items()
        ]
        problems = [
            {"kind": "problem", "subject": problem.description, "fix": problem.fix} for problem in self.problems
        ]
        return [*parts, *problems, *({"kind": "note", "subject": note} for note in self.notes)]

    def to_json(self) -> dict[str, Any]:
        """The same under the name of the layout, with whether the set can be used."""
        summary = {"layout": self.name, "data": str(self.root), "valid": self.is_valid, "missing": self.num_missing}
        return summary | {"findings": self.list_findings()}


def check_files(dataset: ListedDataset) -> tuple[SubsetEntries, ValidationReport]:
    """The usable videos of each part, each file once, and a report on them."""
    report = ValidationReport(dataset.name, dataset.root, notes=list(dataset.notes))
    realpath = _make_realpath()
    entries: SubsetEntries = {}
    for subset in SUBSETS:
        existing = _keep_existing(dataset, subset, report)
        entries[subset] = _drop_repeats(existing, dataset.sources.get(subset, ""), realpath, report)
    report.counts = {subset: (len(part), len({entry.label for entry in part})) for subset, part in entries.items()}
    for subset in ("train", "test") if dataset.needs_test else ("train",):
        if not entries[subset] and not report.problems:
            title = SUBSET_TITLES[subset]
            source = dataset.sources.get(subset, dataset.root)
            report.add_problem(f"{source}: the {title} list names no video", f"name videos in the {title} list")
    _report_unlabelled(entries, report)
    _report_overlap(entries, realpath, report)
    _report_empty_classes(dataset, entries, report)
    report.notes += _describe_unshared_classes(entries)
    return entries, report


def require_valid(dataset: ListedDataset) -> tuple[SubsetEntries, list[str]]:
    """The usable videos of each part and the notes. Raises InputError with the first problem and its fix."""
    entries, report = check_files(dataset)
    if report.problems:
        first, num_more = report.problems[0], len(report.problems) - 1
        more = f" ({format_count(num_more, 'more problem')})" if num_more else ""
        raise InputError(f"{first.description}. To do: {first.fix}{more}")
    return entries, report.notes


def validate(dataset: ListedDataset) -> ValidationReport:
    """The report of `check_files`, with further notes: groups on both sides, and videos that are in no list."""
    entries, report = check_files(dataset)
    report.notes += _describe_shared_groups(entries)
    realpath = _make_realpath()
    listed = {realpath(entry.path) for part in dataset.entries.values() for entry in part}
    unlisted = [path for path in walk_videos(dataset.root) if path.is_file() and realpath(path) not in listed]
    if unlisted:
        count = format_count(len(unlisted), "video")
        report.notes.append(f"{count} below {dataset.root} in no list: {preview_items(unlisted)}")
    return report


def _keep_existing(dataset: ListedDataset, subset: str, report: ValidationReport) -> list[VideoEntry]:
    """The entries whose file exists; the others are reported."""
    entries, source = dataset.entries.get(subset, []), dataset.sources.get(subset, "")
    exists = [entry.path.is_file() for entry in entries]
    existing = [entry for entry, is_there in zip(entries, exists, strict=True) if is_there]
    missing = [entry.path for entry, is_there in zip(entries, exists, strict=True) if not is_there]
    if not missing:
        return existing
    description = f"{source}: {format_count(len(missing), 'video')} listed but not found: {preview_items(missing)}"
    if existing and dataset.allows_missing_videos:
        report.num_missing += len(missing)
        report.notes.append(f"{description}; left out, {len(existing)} of {len(entries)} are there")
    else:
        report.add_problem(description, "add the missing videos or take them out of the lists")
    return existing


def _make_realpath() -> Callable[[Path], str]:
    """os.path.realpath that resolves each folder once."""
    folders: dict[str, str] = {}

    def realpath(path: Path) -> str:
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.join(folders[folder], name)

    return realpath


def _drop_repeats(
    entries: list[VideoEntry], source: str, realpath: Callable[[Path], str], report: ValidationReport
) -> list[VideoEntry]:
    """Each file of a list once, in order; a file with two classes is a problem."""
    first: dict[str, VideoEntry] = {}
    conflicts = [entry for entry in entries if first.setdefault(realpath(entry.path), entry).label != entry.label]
    if conflicts:
        path, label = conflicts[0].path, conflicts[0].label
        labels = f"({first[realpath(path)].label!r}, {label!r})"
        description = f"{source}: {format_count(len(conflicts), 'video')} with two labels: {path} {labels}"
        report.add_problem(description, "give each video one class")
    elif len(entries) > len(first):
        count = format_count(len(entries) - len(first), "repeated line")
        report.notes.append(f"{source}: {count}; each file counts once")
    return list(first.values())


def _report_unlabelled(entries: SubsetEntries, report: ValidationReport) -> None:
    fix = "put each class in a folder of its own, or write lists with the columns path,label"
    for subset, part in entries.items():
        unlabelled = [entry.path for entry in part if not entry.label]
        if unlabelled:
            count, names = format_count(len(unlabelled), "video"), preview_items(unlabelled)
            report.add_problem(f"{count} of the {SUBSET_TITLES[subset]} list without a class: {names}", fix)


def _report_overlap(entries: SubsetEntries, realpath: Callable[[Path], str], report: ValidationReport) -> None:
    files = {subset: {realpath(entry.path): entry.path for entry in part} for subset, part in entries.items()}
    for first, second in (("train", "test"), ("train", "validation"), ("validation", "test")):
        shared = [path for name, path in files[second].items() if name in files[first]]
        if shared:
            count, titles = format_count(len(shared), "video"), f"{SUBSET_TITLES[first]} and {SUBSET_TITLES[second]}"
            description = f"{count} in both lists, {titles}: {preview_items(shared)}"
            report.add_problem(description, "keep each video in one list, so that no query finds itself")


def _report_empty_classes(dataset: ListedDataset, entries: SubsetEntries, report: ValidationReport) -> None:
    present = {normalize_name(entry.label) for part in entries.values() for entry in part}
    empty = [name for name in dataset.classes if normalize_name(name) not in present]
    if not empty or not present:
        return
    count, names = format_count(len(empty), "class"), preview_items(empty, 5)
    description = f"{dataset.classes_source}: {count} without a video: {names}"
    if dataset.allows_empty_classes:
        report.notes.append(description)
    else:
        report.add_problem(description, "add videos of these classes, or take the classes out")


def _describe_unshared_classes(entries: SubsetEntries) -> list[str]:
    """Notes on classes that one side lacks: those without training videos can't be predicted."""
    train, test = ({entry.label for entry in entries[subset]} for subset in ("train", "test"))
    notes = []
    if train and test - train:
        num_videos = format_count(sum(entry.label not in train for entry in entries["test"]), "test video")
        count, names = format_count(len(test - train), "class"), preview_items(sorted(test - train), 5)
        notes.append(f"{count} only in the test list, so {num_videos} can't be classified correctly: {names}")
    if test and train - test:
        count, names = format_count(len(train - test), "class"), preview_items(sorted(train - test), 5)
        notes.append(f"{count} only in the training list: {names}")
    return notes


def _describe_shared_groups(entries: SubsetEntries) -> list[str]:
    train, test = ({entry.group for entry in entries[subset] if entry.group} for subset in ("train", "test"))
    shared = sorted(train & test)
    if not shared:
        return []
    count, names = format_count(len(shared), "group"), preview_items(shared, 5)
    return [f"{count} in both lists, training and test: {names}; clips of a group look alike, which raises the scores"]
