"""Which videos are kept out of training for the label-free monitors."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from unreel.seeding import make_generator
from unreel.types import Instance

MAX_HELD_OUT = 200
MIN_INSTANCES_TO_SPLIT = 20


def split_held_out(instances: Sequence[Instance], share: float, seed: int) -> tuple[list[Instance], list[Instance]]:
    """Split into (training, held-out) instances, apart by group where groups are known, else by file.

    With fewer than 20 instances nothing is held out. A single recording gives up whole segments.
    """
    count = min(MAX_HELD_OUT, round(share * len(instances)))
    if count < 2 or len(instances) < MIN_INSTANCES_TO_SPLIT:
        return list(instances), []
    units = [i.group or i.path for i in instances]
    if len(set(units)) < 4:
        units = [f"{i.path}@{i.start_s}" for i in instances]
    names = sorted(set(units))
    chosen: set[str] = set()
    num_chosen = 0
    sizes, order = Counter(units), make_generator(seed, 0, 0, "hold-out").permutation(len(names))
    for limit in (2 * count, len(instances) // 2):  # a large unit only where small ones do not give two videos
        for name in (names[k] for k in order):
            wanted = count if limit == 2 * count else 2
            if num_chosen < wanted and name not in chosen and num_chosen + sizes[name] <= limit:
                chosen.add(name)
                num_chosen += sizes[name]
    pairs = list(zip(instances, units, strict=True))
    return [i for i, unit in pairs if unit not in chosen], [i for i, unit in pairs if unit in chosen]


def format_paths(paths: Iterable[str]) -> str:
    """The text of held_out.txt: a path a line; one that is not a single line is written as JSON, in quotes."""
    return "".join(f"{path if len(path.splitlines()) == 1 else json.dumps(path)}\n" for path in paths)


def parse_paths(text: str) -> set[str]:
    """The paths of `format_paths`. All are absolute or URLs, so none begins with a quote."""
    return {json.loads(line) if line.startswith('"') else line for line in text.split("\n") if line}
