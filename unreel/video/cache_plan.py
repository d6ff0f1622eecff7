"""How much memory decoded frames get: what the corpus needs, and no more than the machine can spare."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unreel.errors import VideoError
from unreel.types import Instance
from unreel.video.clips import ClipSpec, every_frame
from unreel.video.file import index_frames
from unreel.video.frame_cache import MAX_FRAMES, MB
from unreel.video.processes import Ended, alone

SAMPLE = 16  # instances whose frames are counted; the rest are taken to be like them
SPARED = 0.25  # share of the free memory that is taken when nobody says how much
WORTH = 0.05  # share of the corpus below which nothing is kept


class CachePlan(NamedTuple):
    """Memory for decoded frames, and why so much; nothing to say where it was switched off."""

    budget_mb: int
    sentence: str


def plan_cache(
    asked_mb: int, instances: Sequence[Instance], spec: ClipSpec, size: tuple[int, int], spare_mb: float | None = None
) -> CachePlan:
    """What `--cache-mb` comes to: 0 is off, -1 chooses, else the most that may be taken. `spare_mb` is free memory."""
    if asked_mb == 0 or not instances:
        return CachePlan(0, "")
    most_mb = asked_mb if asked_mb > 0 else SPARED * (free_mb() if spare_mb is None else spare_mb)
    needed_mb, share = decoded_mb(instances, spec, size)
    whole = f"decoded, these videos take about {needed_mb:.0f} MB"
    if not share or needed_mb == 0:
        return CachePlan(0, f"no decoded frames are kept: instances are longer than {MAX_FRAMES} frames")
    if most_mb < WORTH * needed_mb:
        return CachePlan(0, f"no decoded frames are kept: {whole}, and {most_mb:.0f} MB may be used (--cache-mb)")
    if most_mb >= needed_mb * 1.1:  # an estimate: leave room for instances longer than those counted
        kept = "all of them are kept" if share == 1 else f"the {share:.0%} that are short enough are kept"
        return CachePlan(int(min(most_mb, needed_mb * 1.5 + 16)), f"{whole}: {kept}, and decoded once")
    part = f"the first {most_mb:.0f} MB are kept and decoded once (--cache-mb)"
    return CachePlan(int(most_mb), f"{whole}: {part}")


def decoded_mb(instances: Sequence[Instance], spec: ClipSpec, size: tuple[int, int]) -> tuple[float, float]:
    """About how much the frames take of all instances short enough to keep, and the share of instances that are."""
    chosen = np.linspace(0, len(instances) - 1, min(SAMPLE, len(instances))).astype(int)
    found = alone(frame_counts, [instances[i] for i in chosen], spec)
    if isinstance(found, Ended):  # a file crashed its decoder: the loader will name it
        return 0.0, 0.0
    counts = np.array(found, dtype=np.int64)
    short = counts[counts <= MAX_FRAMES]
    if not len(short):
        return 0.0, 0.0
    share = len(short) / len(counts)
    return float(short.mean()) * size[0] * size[1] * 3 * len(instances) * share / MB, share


def frame_counts(instances: Sequence[Instance], spec: ClipSpec) -> list[int]:
    """`num_frames` of those that can be read."""
    return [count for count in (num_frames(instance, spec) for instance in instances) if count is not None]


def num_frames(instance: Instance, spec: ClipSpec) -> int | None:
    """How many different frames clips of an instance can show; None for a file that can't be read."""
    try:
        times_s = index_frames(instance.path).times_s
    except VideoError:
        return None
    return len(np.unique(every_frame(times_s, spec, instance.start_s, instance.end_s)))


def free_mb(root: Path = Path("/")) -> float:
    """Memory that is free: the machine's, or what a container (cgroup v2, v1) has left of it; 1024 if unknown."""
    found = []
    for line in text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) / 1024)
    for folder, limit, used in (
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        words = text(root / folder / limit).strip(), text(root / folder / used).strip()
        if all(word.isdigit() for word in words):
            found.append((int(words[0]) - int(words[1])) / MB)
    return max(0.0, min(found)) if found else 1024.0


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
