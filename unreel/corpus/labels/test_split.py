"""A test part for labelled videos that bring none: whole groups, about a quarter, every class on both sides.

Groups may span classes (one person does all actions), so this colours groups with two colours; where classes are tied
to each other too tightly for that (three groups, each two of which make up a class), the nearest miss is kept and told.
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
    """Groups taken so far into the test part, and what is left of each class in the training part."""

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
        """How much nearer to the wanted share the classes of this group come, in videos."""
        return sum(
            abs(self.test_counts[name] - self.target_counts[name])
            - abs(self.test_counts[name] + count - self.target_counts[name])
            for name, count in self.class_counts[group].items()
        )

    def can_spare(self, group: str, allow_single: bool = False) -> bool:
        """Does every class keep a group in training? `lone` lets go of classes that have a single group anyway."""
        names = self.class_counts[group]
        return all(
            self.train_groups[name] > 1 or (allow_single and len(self.groups_by_class[name]) == 1) for name in names
        )

    def list_one_sided(self) -> list[str]:
        """Classes of two groups or more that are not on both sides."""
        return sorted(
            n
            for n, of in self.groups_by_class.items()
            if len(of) > 1 and not (self.test_counts[n] and self.train_groups[n])
        )


def draw_test_split(
    entries: Sequence[VideoEntry], root: Path, seed: int = 0
) -> tuple[list[VideoEntry], list[VideoEntry], list[str]]:
    """Training part, test part and classes that could not be on both sides; a function of files, groups and seed.

    A video without a group is a group of its own. Raises InputError when no class has two groups.
    """
    keys = [_make_group_key(item, root) for item in entries]
    amounts: dict[str, Counter[str]] = defaultdict(Counter)
    for key, item in sorted(zip(keys, entries, strict=True), key=lambda pair: pair[0]):
        amounts[key][item.label] += 1
    draw = _draw_best(amounts, seed)
    if not draw.test_groups:
        raise InputError(
            f"{root}: no test part can be made, as every class has a single group (recordings of one source stay "
            "together). Add videos of other sources, or name lists with --train and --test"
        )
    sides = [
        [item for key, item in zip(keys, entries, strict=True) if (key in draw.test_groups) == test] for test in (0, 1)
    ]
    return sides[0], sides[1], draw.list_one_sided()


def _make_group_key(item: VideoEntry, root: Path) -> str:
    """Groups apart from files; a file by its place in the folder, so that the folder may move."""
    return f"group {item.group}" if item.group else f"video {item.path.relative_to(root).as_posix()}"


def _draw_best(class_counts: dict[str, Counter[str]], seed: int) -> _TestSplit:
    """The first draw with every class on both sides, else the one with the fewest that are not."""
    draws = []
    for attempt in range(MAX_ATTEMPTS):
        draws.append(_draw_split(class_counts, seed, attempt))
        if not draws[-1].list_one_sided():
            break
    return min(draws, key=lambda draw: len(draw.list_one_sided()))


def _draw_split(class_counts: dict[str, Counter[str]], seed: int, attempt: int) -> _TestSplit:
    """A group for every class that has two or more, those with few first; then whatever brings the share nearer."""
    names = list(class_counts)
    order = [names[i] for i in make_generator(seed, 0, attempt, "test part").permutation(len(names))]
    groups: dict[str, list[str]] = defaultdict(list)
    for group in order:
        for name in class_counts[group]:
            groups[name].append(group)
    goal = {name: TEST_SHARE * sum(class_counts[group][name] for group in of) for name, of in groups.items()}
    draw = _TestSplit(class_counts, goal, groups, train_groups=Counter({name: len(of) for name, of in groups.items()}))
    for name in sorted((n for n, of in groups.items() if len(of) > 1), key=lambda n: len(groups[n])):
        if not draw.test_counts[name]:
            _add_best_group(draw, groups[name])
    for group in order:
        if group not in draw.test_groups and draw.can_spare(group) and draw.compute_gain(group) > 0:
            draw.add_group(group)
    return draw


def _add_best_group(draw: _TestSplit, choices: list[str]) -> None:
    """The first group that brings its classes nearer to their share, else the one that overshoots least."""
    free = [group for group in choices if draw.can_spare(group)]
    free = free or [group for group in choices if draw.can_spare(group, allow_single=True)]
    nearer = next((group for group in free if draw.compute_gain(group) >= 0), None)
    if free:
        draw.add_group(nearer or max(free, key=draw.compute_gain))
