"""Which videos are kept out of training for the label-free monitors."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unreel.rows.columns import is_constant, rank_strings
from unreel.rows.instance_rows import InstanceRows
from unreel.seeding import make_generator
from unreel.types import Instance

MAX_HELD_OUT = 200
MIN_INSTANCES_TO_SPLIT = 20


def split_held_out(instances: Sequence[Instance], share: float, seed: int) -> tuple[InstanceRows, InstanceRows]:
    """Split into (training, held-out) instances, apart by group where groups are known, else by file.

    With fewer than 20 instances nothing is held out. A single recording gives up whole segments.
    """
    instances = InstanceRows.from_instances(instances)
    count = min(MAX_HELD_OUT, round(share * len(instances)))
    if count < 2 or len(instances) < MIN_INSTANCES_TO_SPLIT:
        return instances, instances[:0]
    unit_N = number_units(instances)
    sizes = np.bincount(unit_N).astype(np.int32)
    units = np.flatnonzero(sizes).astype(np.int32)
    chosen: list[int] = []
    num_chosen = 0
    order = make_generator(seed, 0, 0, "hold-out").permutation(len(units))
    for limit in (2 * count, len(instances) // 2):  # a large unit only where small ones do not give two videos
        wanted = count if limit == 2 * count else 2
        for unit in units[order]:
            if num_chosen >= wanted:
                break
            if unit not in chosen and num_chosen + sizes[unit] <= limit:
                chosen.append(unit)
                num_chosen += sizes[unit]
    is_held_out_N = np.isin(unit_N, chosen)
    return instances.select(~is_held_out_N), instances.select(is_held_out_N)


def number_units(instances: InstanceRows) -> np.ndarray:
    """The number (N,) of what each instance is held out with, its group or file, in the order of their names; with
    fewer than four of them each instance is alone."""
    group, path = (instances.videos.column(name) for name in ("group", "path"))
    unit_N = rank_strings(_name_units(group, path))[instances.row_N]
    if np.count_nonzero(np.bincount(unit_N)) >= 4:
        return unit_N
    return rank_strings(pa.chunked_array([[f"{i.path}@{i.start_s}" for i in instances]]))


def _name_units(group: pa.ChunkedArray, path: pa.ChunkedArray) -> pa.ChunkedArray:
    """The group of each video, or its path where it has none; no column is copied that need not be."""
    if is_constant(group, ""):
        return path
    names = group.cast(path.type)
    is_alone = pc.equal(names, "")
    return pc.if_else(is_alone, path, names) if pc.any(is_alone).as_py() else names


def format_paths(paths: Iterable[str]) -> str:
    """The text of held_out.txt: a path a line; one that is not a single line is written as JSON, in quotes."""
    return "".join(f"{path if len(path.splitlines()) == 1 else json.dumps(path)}\n" for path in paths)


def parse_paths(text: str) -> set[str]:
    """The paths of `format_paths`. All are absolute or URLs, so none begins with a quote."""
    return {json.loads(line) if line.startswith('"') else line for line in text.split("\n") if line}
