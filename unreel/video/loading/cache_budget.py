"""How much memory decoded frames get: what the corpus needs, and no more than the machine can spare."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unreel.errors import VideoError
from unreel.io.limits import WorkerFailure
from unreel.io.worker_pool import run_isolated
from unreel.types import Instance
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading.frame_cache import MAX_FRAMES, MB
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import list_candidate_frames

SAMPLE_SIZE = 16  # instances whose frames are counted; the rest are taken to be like them
FREE_MEMORY_SHARE = 0.25  # share of the free memory that is taken when nobody says how much
MIN_CORPUS_SHARE = 0.05  # share of the corpus below which nothing is kept


class CacheBudget(NamedTuple):
    """Memory for decoded frames, and why so much; nothing to say where it was switched off."""

    budget_mb: int
    explanation: str


def plan_cache_budget(
    requested_mb: int,
    instances: Sequence[Instance],
    spec: ClipSpec,
    size: tuple[int, int],
    free_mb: float | None = None,
) -> CacheBudget:
    """What `--cache-mb` comes to: 0 is off, -1 chooses, else the most that may be taken. `spare_mb` is free memory."""
    if requested_mb == 0 or not instances:
        return CacheBudget(0, "")
    most_mb = requested_mb if requested_mb > 0 else FREE_MEMORY_SHARE * (read_free_mb() if free_mb is None else free_mb)
    needed_mb, share = estimate_decoded_mb(instances, spec, size)
    whole = f"decoded, these videos take about {needed_mb:.0f} MB"
    if not share or needed_mb == 0:
        return CacheBudget(0, f"no decoded frames are kept: instances are longer than {MAX_FRAMES} frames")
    if most_mb < MIN_CORPUS_SHARE * needed_mb:
        return CacheBudget(0, f"no decoded frames are kept: {whole}, and {most_mb:.0f} MB may be used (--cache-mb)")
    if most_mb >= needed_mb * 1.1:  # an estimate: leave room for instances longer than those counted
        kept = "all of them are kept" if share == 1 else f"the {share:.0%} that are short enough are kept"
        return CacheBudget(int(min(most_mb, needed_mb * 1.5 + 16)), f"{whole}: {kept}, and decoded once")
    part = f"the first {most_mb:.0f} MB are kept and decoded once (--cache-mb)"
    return CacheBudget(int(most_mb), f"{whole}: {part}")


def estimate_decoded_mb(instances: Sequence[Instance], spec: ClipSpec, size: tuple[int, int]) -> tuple[float, float]:
    """About how much the frames take of all instances short enough to keep, and the share of instances that are."""
    chosen = np.linspace(0, len(instances) - 1, min(SAMPLE_SIZE, len(instances))).astype(int)
    found = run_isolated(count_all_frames, [instances[i] for i in chosen], spec)
    if isinstance(found, WorkerFailure):  # a file crashed its decoder: the loader will name it
        return 0.0, 0.0
    counts = np.array(found, dtype=np.int64)
    short = counts[counts <= MAX_FRAMES]
    if not len(short):
        return 0.0, 0.0
    share = len(short) / len(counts)
    return float(short.mean()) * size[0] * size[1] * 3 * len(instances) * share / MB, share


def count_all_frames(instances: Sequence[Instance], spec: ClipSpec) -> list[int]:
    """`num_frames` of those that can be read."""
    return [count for count in (count_frames(instance, spec) for instance in instances) if count is not None]


def count_frames(instance: Instance, spec: ClipSpec) -> int | None:
    """How many different frames clips of an instance can show; None for a file that can't be read."""
    try:
        times_s = index_frames(instance.path).times_s
    except VideoError:
        return None
    return len(np.unique(list_candidate_frames(times_s, spec, instance.start_s, instance.end_s)))


def read_free_mb(root: Path = Path("/")) -> float:
    """Memory that is free: the machine's, or what a container (cgroup v2, v1) has left of it; 1024 if unknown."""
    found = []
    for line in read_text_or_empty(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) / 1024)
    for folder, limit, used in (
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        words = read_text_or_empty(root / folder / limit).strip(), read_text_or_empty(root / folder / used).strip()
        if all(word.isdigit() for word in words):
            found.append((int(words[0]) - int(words[1])) / MB)
    return max(0.0, min(found)) if found else 1024.0


def read_text_or_empty(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
