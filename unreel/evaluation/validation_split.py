"""Which training videos are held out to choose values on: whole groups at a time."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from unreel.seeding import make_generator
from unreel.types import Instance


def choose_validation_groups(instances: Sequence[Instance], share: float = 0.2, seed: int = 0) -> np.ndarray:
    """Training videos to hold out: bool (N,), whole groups at a time, about `share` of the videos.

    A video without a group is a group of its own. A class with two groups or more keeps at least one for training and,
    where its groups allow it, has one among the held-out videos. All False when no class has two groups.
    """
    names = [i.group or f"\0{i.path}@{i.start_s}" for i in instances]
    members: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        members.setdefault(name, []).append(n)
    groups_left = Counter(label for rows in members.values() for label in {instances[n].label for n in rows})
    chosen, seen, num_held = np.zeros(len(names), bool), set[str](), 0
    known = sorted(members)
    order = [known[k] for k in make_generator(seed, 0, 0, "validation").permutation(len(known))]
    for adds_classes in (True, False):  # first groups that add a class, then any until the share is reached
        for name in order:
            rows, labels = members[name], {instances[n].label for n in members[name]}
            wanted = bool(labels - seen) if adds_classes else num_held + len(rows) <= share * len(names)
            if not chosen[rows[0]] and wanted and all(groups_left[label] > 1 for label in labels):
                chosen[rows], num_held = True, num_held + len(rows)
                seen |= labels
                groups_left.subtract(labels)
    return chosen


def hold_out_groups(instances: Sequence[Instance], share: float, seed: int) -> np.ndarray | None:
    """Training videos to choose values on, bool (N,); None where fewer than two classes would be left to train on."""
    held_N = choose_validation_groups(instances, share, seed)
    train_labels = {i.label for i, held in zip(instances, held_N, strict=True) if not held}
    return held_N if held_N.any() and len(train_labels) > 1 else None
