"""Are a training and a test list fit to be compared? What makes a figure wrong is refused, what flatters it is said."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from unreel.errors import InputError
from unreel.seeding import make_generator
from unreel.types import Instance
from unreel.video.sources.paths import real_path
from unreel.video.sources.source import open_source

UNKNOWN_SIZE, MIN_GROUPS = -1, 10


def check_train_test(train: Sequence[Instance], test: Sequence[Instance]) -> None:
    """Raises InputError for an empty list, a video without a class, and a test video that is a training video too."""
    for name, instances in (("training", train), ("test", test)):
        if not instances:
            raise InputError(f"the {name} list is empty; give labelled videos")
        bare = [i.path for i in instances if not i.label]
        if bare:
            raise InputError(f"{len(bare)} videos of the {name} list have no class, the first is {bare[0]}")
    both = [first for first, twin in find_duplicates(train, test) if real_path(first) == real_path(twin)]
    if both:
        name, more = both[0], len(both) - 1
        others = f" So are {more} others." if more else ""
        raise InputError(f"{name} is in the test list and in the training list; a query would find itself.{others}")


def find_duplicates(train: Sequence[Instance], test: Sequence[Instance]) -> list[tuple[str, str]]:
    """(test path, training path) of files that are the same, by place or by content."""
    at = {real_path(i.path): i.path for i in train}
    asked = {path: real_path(path) for path in dict.fromkeys(i.path for i in test)}
    sizes = {_get_size(path) for path in at} & {_get_size(path) for path in asked.values()} - {UNKNOWN_SIZE}
    content = {_hash_content(path): name for path, name in at.items() if _get_size(path) in sizes}
    found = []
    for path, real in asked.items():
        twin = at.get(real) or (content.get(_hash_content(real)) if _get_size(real) in sizes else None)
        if twin is not None:
            found.append((path, twin))
    return found


def collect_warnings(
    test: Sequence[Instance], train: Sequence[Instance], ks: Sequence[int], gallery_size: int = 0
) -> list[str]:
    """Sentences that belong beside retrieval figures; `answering` is how many clips answer, if not the videos."""
    known, total = {i.label for i in train}, gallery_size or len(train)
    said = []
    lost = [i.label for i in test if i.label not in known]
    if lost:
        names = ", ".join(sorted(set(lost)))
        said.append(f"{len(lost)} queries can't be right: no gallery video shows their class ({names}).")
    large = [k for k in ks if k > total]
    if large:
        which = ", ".join(f"R@{k}" for k in large)
        what = "clips" if gallery_size > len(train) else "videos"
        said.append(f"{which}: the gallery has {total} {what} only, so this is the figure for all of them.")
    return said + collect_leakage_warnings(test, train)


def collect_leakage_warnings(test: Sequence[Instance], train: Sequence[Instance]) -> list[str]:
    """Sentences on what makes any figure look better, or surer, than it is."""
    said = []
    twins = [pair for pair in find_duplicates(train, test) if real_path(pair[0]) != real_path(pair[1])]
    if twins:
        first, twin = twins[0]
        said.append(f"{len(twins)} test videos have the content of a training video ({first} of {twin}); it flatters.")
    sources = {i.group for i in test if i.group}
    if 0 < len(sources) < MIN_GROUPS and len(test) > len(sources):
        said.append(f"the test videos come from {len(sources)} groups only; error bars over so few are too narrow.")
    groups = sources & {i.group for i in train if i.group}
    if groups:
        few = ", ".join(sorted(groups)[:5])
        said.append(f"{len(groups)} groups are in both lists ({few}); recordings of a group look alike, it flatters.")
    return said


def _get_size(path: str) -> int:
    """Bytes of a file; NO_SIZE for no file, and for an empty one, which is like no other."""
    try:
        return open_source(path).get_content_stat().size_bytes or UNKNOWN_SIZE
    except OSError:
        return UNKNOWN_SIZE


def _hash_content(path: str) -> str:
    try:
        return open_source(path).hash_content()
    except OSError:
        return path


def choose_validation_groups(instances: Sequence[Instance], share: float = 0.2, seed: int = 0) -> np.ndarray:
    """Which training videos to choose values by: bool (N,), whole groups at a time, about `share` of the videos.

    A video without a group is its own. Every class with two groups or more keeps one for training, and has one here
    where groups allow it. All False when no class has two groups.
    """
    names = [i.group or f"\0{i.path}@{i.start_s}" for i in instances]
    members: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        members.setdefault(name, []).append(n)
    training = Counter(label for rows in members.values() for label in {instances[n].label for n in rows})
    chosen, seen, held = np.zeros(len(names), bool), set[str](), 0
    known = sorted(members)
    order = [known[k] for k in make_generator(seed, 0, 0, "validation").permutation(len(known))]
    for first in (True, False):  # first what brings a class that is not here yet, then up to the share
        for name in order:
            rows, labels = members[name], {instances[n].label for n in members[name]}
            new = bool(labels - seen) if first else held + len(rows) <= share * len(names)
            if not chosen[rows[0]] and new and all(training[label] > 1 for label in labels):
                chosen[rows], held = True, held + len(rows)
                seen |= labels
                training.subtract(labels)
    return chosen
