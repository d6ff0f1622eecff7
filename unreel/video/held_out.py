"""A test part for labelled videos that bring none: whole groups, about a quarter, every class on both sides.

Groups may span classes (one person does all actions), so this colours groups with two colours; where classes are tied
to each other too tightly for that (three groups, each two of which make up a class), the nearest miss is kept and told.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unreel.errors import InputError
from unreel.video.lists import Listed
from unreel.video.order import generator

SHARE = 0.25
TRIES = 32


@dataclass
class _Draw:
    """Groups taken so far into the test part, and what is left of each class in the training part."""

    amounts: dict[str, Counter[str]]
    goal: dict[str, float]
    groups: dict[str, list[str]]
    taken: set[str] = field(default_factory=set)
    got: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    def take(self, group: str) -> None:
        self.taken.add(group)
        self.got.update(self.amounts[group])
        self.left.subtract(self.amounts[group].keys())

    def gain(self, group: str) -> float:
        """How much nearer to the wanted share the classes of this group come, in videos."""
        return sum(
            abs(self.got[name] - self.goal[name]) - abs(self.got[name] + count - self.goal[name])
            for name, count in self.amounts[group].items()
        )

    def spares(self, group: str, lone: bool = False) -> bool:
        """Does every class keep a group in training? `lone` lets go of classes that have a single group anyway."""
        names = self.amounts[group]
        return all(self.left[name] > 1 or (lone and len(self.groups[name]) == 1) for name in names)

    def torn(self) -> list[str]:
        """Classes of two groups or more that are not on both sides."""
        return sorted(n for n, of in self.groups.items() if len(of) > 1 and not (self.got[n] and self.left[n]))


def hold_out(listed: Sequence[Listed], root: Path, seed: int = 0) -> tuple[list[Listed], list[Listed], list[str]]:
    """Training part, test part and classes that could not be on both sides; a function of files, groups and seed.

    A video without a group is a group of its own. Raises InputError when no class has two groups.
    """
    keys = [_key(item, root) for item in listed]
    amounts: dict[str, Counter[str]] = defaultdict(Counter)
    for key, item in sorted(zip(keys, listed, strict=True), key=lambda pair: pair[0]):
        amounts[key][item.label] += 1
    draw = _best(amounts, seed)
    if not draw.taken:
        raise InputError(
            f"{root}: no test part can be made, as every class has a single group (recordings of one source stay "
            "together). Add videos of other sources, or name lists with --train and --test"
        )
    sides = [[item for key, item in zip(keys, listed, strict=True) if (key in draw.taken) == test] for test in (0, 1)]
    return sides[0], sides[1], draw.torn()


def _key(item: Listed, root: Path) -> str:
    """Groups apart from files; a file by its place in the folder, so that the folder may move."""
    return f"group {item.group}" if item.group else f"video {item.path.relative_to(root).as_posix()}"


def _best(amounts: dict[str, Counter[str]], seed: int) -> _Draw:
    """The first draw with every class on both sides, else the one with the fewest that are not."""
    draws = []
    for attempt in range(TRIES):
        draws.append(_draw(amounts, seed, attempt))
        if not draws[-1].torn():
            break
    return min(draws, key=lambda draw: len(draw.torn()))


def _draw(amounts: dict[str, Counter[str]], seed: int, attempt: int) -> _Draw:
    """A group for every class that has two or more, those with few first; then whatever brings the share nearer."""
    names = list(amounts)
    order = [names[i] for i in generator(seed, 0, attempt, "test part").permutation(len(names))]
    groups: dict[str, list[str]] = defaultdict(list)
    for group in order:
        for name in amounts[group]:
            groups[name].append(group)
    goal = {name: SHARE * sum(amounts[group][name] for group in of) for name, of in groups.items()}
    draw = _Draw(amounts, goal, groups, left=Counter({name: len(of) for name, of in groups.items()}))
    for name in sorted((n for n, of in groups.items() if len(of) > 1), key=lambda n: len(groups[n])):
        if not draw.got[name]:
            _take_one(draw, groups[name])
    for group in order:
        if group not in draw.taken and draw.spares(group) and draw.gain(group) > 0:
            draw.take(group)
    return draw


def _take_one(draw: _Draw, choices: list[str]) -> None:
    """The first group that brings its classes nearer to their share, else the one that overshoots least."""
    free = [group for group in choices if draw.spares(group)]
    free = free or [group for group in choices if draw.spares(group, lone=True)]
    nearer = next((group for group in free if draw.gain(group) >= 0), None)
    if free:
        draw.take(nearer or max(free, key=draw.gain))
