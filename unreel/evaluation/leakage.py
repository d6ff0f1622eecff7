"""Whether a training and a test list can be compared: errors for what makes figures wrong, warnings for leakage."""

from collections.abc import Sequence

from unreel.errors import InputError
from unreel.io.text import format_count
from unreel.types import Instance
from unreel.video.sources.paths import real_path
from unreel.video.sources.source import open_source

UNKNOWN_SIZE, MIN_GROUPS = -1, 10


def check_train_test(train: Sequence[Instance], test: Sequence[Instance]) -> None:
    """Raises InputError for an empty list, a video without a class, and a test video that is a training video too."""
    for name, instances in (("training", train), ("test", test)):
        if not instances:
            raise InputError(f"the {name} list is empty; give labelled videos")
        unlabelled = [i.path for i in instances if not i.label]
        if unlabelled:
            raise InputError(f"{len(unlabelled)} videos of the {name} list have no class, the first is {unlabelled[0]}")
    shared = [path for path, twin in find_duplicates(train, test) if real_path(path) == real_path(twin)]
    if shared:
        others = (
            f" So are {len(shared) - 1} more." if len(shared) > 2 else " So is one more." if len(shared) > 1 else ""
        )
        raise InputError(
            f"{shared[0]} is in the test list and in the training list; a query would find itself.{others}"
        )


def find_duplicates(train: Sequence[Instance], test: Sequence[Instance]) -> list[tuple[str, str]]:
    """(test path, training path) of files that are the same, by path or by content."""
    train_paths = {real_path(i.path): i.path for i in train}
    test_paths = {path: real_path(path) for path in dict.fromkeys(i.path for i in test)}
    sizes = {_get_size(path) for path in train_paths} & {_get_size(path) for path in test_paths.values()}
    sizes -= {UNKNOWN_SIZE}
    by_content = {_hash_content(real): path for real, path in train_paths.items() if _get_size(real) in sizes}
    pairs = []
    for path, real in test_paths.items():
        twin = train_paths.get(real) or (by_content.get(_hash_content(real)) if _get_size(real) in sizes else None)
        if twin is not None:
            pairs.append((path, twin))
    return pairs


def collect_warnings(
    test: Sequence[Instance], train: Sequence[Instance], ks: Sequence[int], gallery_size: int = 0
) -> list[str]:
    """Sentences that belong beside retrieval figures; `gallery_size` counts clips where clips are ranked."""
    known, total = {i.label for i in train}, gallery_size or len(train)
    warnings = []
    unknown = [i.label for i in test if i.label not in known]
    if unknown:
        names = ", ".join(sorted(set(unknown)))
        count = format_count(len(unknown), "query")
        warnings.append(f"{count} can't be right: no gallery video shows their class ({names}).")
    large = [k for k in ks if k > total]
    if large:
        columns = ", ".join(f"R@{k}" for k in large)
        unit = "clips" if gallery_size > len(train) else "videos"
        warnings.append(f"{columns}: the gallery has {total} {unit} only, so this is the figure for all of them.")
    return warnings + collect_leakage_warnings(test, train)


def collect_leakage_warnings(test: Sequence[Instance], train: Sequence[Instance]) -> list[str]:
    """Sentences on what makes any figure look better, or more certain, than it is."""
    warnings = []
    copies = [pair for pair in find_duplicates(train, test) if real_path(pair[0]) != real_path(pair[1])]
    if copies:
        path, twin = copies[0]
        warnings.append(
            f"{len(copies)} test videos have the content of a training video ({path} of {twin}), which inflates the "
            "figures."
        )
    test_groups = {i.group for i in test if i.group}
    if 0 < len(test_groups) < MIN_GROUPS and len(test) > len(test_groups):
        warnings.append(
            f"the test videos come from only {format_count(len(test_groups), 'group')}; intervals over so few "
            "are too narrow."
        )
    shared = test_groups & {i.group for i in train if i.group}
    if shared:
        first = ", ".join(sorted(shared)[:5])
        warnings.append(
            f"both lists have {format_count(len(shared), 'group')} in common ({first}); recordings of one group "
            "look alike, which inflates the "
            "figures."
        )
    return warnings


def _get_size(path: str) -> int:
    """Bytes of a file; UNKNOWN_SIZE for a missing or empty file, which counts as unlike any other."""
    try:
        return open_source(path).get_content_stat().size_bytes or UNKNOWN_SIZE
    except OSError:
        return UNKNOWN_SIZE


def _hash_content(path: str) -> str:
    try:
        return open_source(path).hash_content()
    except OSError:
        return path
