"""Drawing a test part for labelled videos without one: whole groups, about a quarter, every class on both sides.

A group may span classes (one person does all actions), so not every set can be split this way: with three groups, of
which each pair makes up a class, one class stays on one side. Then the best draw is used, and these classes reported.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unreel.corpus.lists import VideoEntry
from unreel.errors import InputError
from unreel.seeding import make_generator

TEST_SHARE = 0.25
MAX_ATTEMPTS = 32


@dataclass
class _TestSplit:
    """A split being drawn: the groups of the test part, and the number of training groups of each class."""

    class_counts: dict[str, Counter[str]]
    target_counts: dict[str, float]
    groups_by_class: dict[str, list[str]]
    test_groups: set[str] = field(default_factory=set)
    test_counts: Counter[str] = field(default_factory=Counter)
    train_groups: Counter[str] = field(default_factory=Counter)

    def add_group(self, group: str) -> None:
        self.test_groups.add(group)
        self.test_counts.update(self.class_counts[group])
        self.train_groups.subtract(self.class_counts[group].keys())

    def compute_gain(self, group: str) -> float:
        """By how many videos the classes of this group come closer to their target."""
        return sum(
            abs(self.test_counts[name] - self.target_counts[name])
            - abs(self.test_counts[name] + count - self.target_counts[name])
            for name, count in self.class_counts[group].items()
        )

    def can_spare(self, group: str, allow_single: bool = False) -> bool:
        """Whether every class keeps a group in training; with `allow_single`, classes of a single group need not."""
        names = self.class_counts[group]
        return all(
            self.train_groups[name] > 1 or (allow_single and len(self.groups_by_class[name]) == 1) for name in names
        )

    def list_one_sided(self) -> list[str]:
        """Classes of two or more groups that are not on both sides."""
        return sorted(
            name
            for name, groups in self.groups_by_class.items()
            if len(groups) > 1 and not (self.test_counts[name] and self.train_groups[name])
        )


def draw_test_split(
    entries: Sequence[VideoEntry], root: Path, seed: int = 0
) -> tuple[list[VideoEntry], list[VideoEntry], list[str]]:
    """Training part, test part, and classes that are not on both sides; depends only on files, groups and seed.

    A video without a group is a group of its own. Raises InputError when no class has two groups.
    """
    keys = [_make_group_key(entry, root) for entry in entries]
    pairs = list(zip(keys, entries, strict=True))
    class_counts: dict[str, Counter[str]] = defaultdict(Counter)
    for key, entry in sorted(pairs, key=lambda pair: pair[0]):
        class_counts[key][entry.label] += 1
    draw = _draw_best(class_counts, seed)
    if not draw.test_groups:
        raise InputError(
            f"{root}: no test part can be made, as every class has a single group (clips of one recording stay "
            "together). Add videos of other recordings, or name lists with --train and --test"
        )
    train = [entry for key, entry in pairs if key not in draw.test_groups]
    test = [entry for key, entry in pairs if key in draw.test_groups]
    return train, test, draw.list_one_sided()


def _make_group_key(entry: VideoEntry, root: Path) -> str:
    """The name of a group, or of a file without one by its relative path, so that the folder may move."""
    return f"group {entry.group}" if entry.group else f"video {entry.path.relative_to(root).as_posix()}"


def _draw_best(class_counts: dict[str, Counter[str]], seed: int) -> _TestSplit:
    """The first draw with every class on both sides, else the draw with the fewest one-sided classes."""
    draws = []
    for attempt in range(MAX_ATTEMPTS):
        draws.append(_draw_split(class_counts, seed, attempt))
        if not draws[-1].list_one_sided():
            break
    return min(draws, key=lambda draw: len(draw.list_one_sided()))


def _draw_split(class_counts: dict[str, Counter[str]], seed: int, attempt: int) -> _TestSplit:
    """A group for every class of two or more groups, those with few first; then any that brings the share closer."""
    names = list(class_counts)
    order = [names[i] for i in make_generator(seed, 0, attempt, "test part").permutation(len(names))]
    groups: dict[str, list[str]] = defaultdict(list)
    for group in order:
        for name in class_counts[group]:
            groups[name].append(group)
    targets = {n: TEST_SHARE * sum(class_counts[group][n] for group in members) for n, members in groups.items()}
    num_groups = Counter({name: len(members) for name, members in groups.items()})
    draw = _TestSplit(class_counts, targets, groups, train_groups=num_groups)
    for name in sorted((n for n, members in groups.items() if len(members) > 1), key=lambda n: len(groups[n])):
        if not draw.test_counts[name]:
            _add_best_group(draw, groups[name])
    for group in order:
        if group not in draw.test_groups and draw.can_spare(group) and draw.compute_gain(group) > 0:
            draw.add_group(group)
    return draw


def _add_best_group(draw: _TestSplit, choices: list[str]) -> None:
    """Add the first group that brings its classes closer to their share, else the one that overshoots least."""
    free = [group for group in choices if draw.can_spare(group)]
    free = free or [group for group in choices if draw.can_spare(group, allow_single=True)]
    closer = next((group for group in free if draw.compute_gain(group) >= 0), None)
    if free:
        draw.add_group(closer or max(free, key=draw.compute_gain))
