"""Parts of the training videos, whole groups at a time, each of which is held out in turn."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from unreel.seeding import make_generator
from unreel.types import Instance

NUM_FOLDS = 5
NEVER_HELD = -1


def name_groups(instances: Sequence[Instance]) -> list[str]:
    """The group of each video; one without is a group of its own, and all marks of a video are one."""
    return [i.group or f"\0{i.path}" for i in instances]


def assign_folds(instances: Sequence[Instance], seed: int, num_folds: int = NUM_FOLDS) -> np.ndarray:
    """The fold of each video, int64 (N,), so that the classes are spread over all of them.

    Groups are taken in random order, those of rare classes first, each into the fold that has fewest groups of its
    classes. A group whose class has no other is never held out (-1): nothing would be left to learn the class from.
    """
    names = name_groups(instances)
    labels_by_group: dict[str, set[str]] = {}
    for name, instance in zip(names, instances, strict=True):
        labels_by_group.setdefault(name, set()).add(instance.label)
    num_groups = Counter(label for labels in labels_by_group.values() for label in labels)
    known = sorted(labels_by_group)
    order = [known[n] for n in make_generator(seed, 0, 0, "folds").permutation(len(known))]
    order.sort(key=lambda name: min(num_groups[label] for label in labels_by_group[name]))
    fold_by_group, used, sizes = dict[str, int](), Counter[tuple[int, str]](), Counter[int]()
    for name in order:
        labels = labels_by_group[name]
        if any(num_groups[label] < 2 for label in labels):
            fold_by_group[name] = NEVER_HELD
            continue
        cost = [
            (sum(used[fold, label] / num_groups[label] for label in labels), sizes[fold]) for fold in range(num_folds)
        ]
        fold = min(range(num_folds), key=cost.__getitem__)
        fold_by_group[name] = fold
        sizes[fold] += 1
        used.update((fold, label) for label in labels)
    return np.array([fold_by_group[name] for name in names], np.int64)


def assign_class_folds(num_classes: int, seed: int, num_folds: int = NUM_FOLDS) -> np.ndarray:
    """The fold of each class, int64 (C,): those of a fold are held out together, and at least two are left."""
    order = make_generator(seed, 0, 0, "class folds").permutation(num_classes)
    folds = np.zeros(num_classes, np.int64)
    folds[order] = np.arange(num_classes) % min(num_folds, num_classes)
    return folds
