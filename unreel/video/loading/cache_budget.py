"""Choose the memory for decoded frames: as much as the corpus needs, limited to a share of what is free."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unreel.errors import VideoError
from unreel.io.limits import WorkerFailure
from unreel.io.worker_pool import run_isolated
from unreel.types import Instance
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading.frame_cache import MAX_FRAMES, MB
from unreel.video.loading.free_memory import read_free_mb
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import list_candidate_frames

SAMPLE_SIZE = 16  # instances whose frames are counted, to estimate the rest
FREE_MEMORY_SHARE = 0.25  # of the free memory, when no budget is given
MIN_CORPUS_SHARE = 0.05  # below this share of the corpus a cache does not pay off


class CacheBudget(NamedTuple):
    """Megabytes for decoded frames, a sentence that explains them, "" where the cache is off, and the share of the
    instances that are decoded only once.
    """

    budget_mb: int
    explanation: str
    kept_share: float = 0.0


def plan_cache_budget(
    requested_mb: int,
    instances: Sequence[Instance],
    spec: ClipSpec,
    size: tuple[int, int],
    free_mb: float | None = None,
) -> CacheBudget:
    """The budget for `--cache-mb`: 0 is off, -1 chooses, else the maximum. `free_mb` None: read from the system."""
    if requested_mb == 0 or not instances:
        return CacheBudget(0, "")
    max_mb = requested_mb if requested_mb > 0 else FREE_MEMORY_SHARE * (read_free_mb() if free_mb is None else free_mb)
    needed_mb, share = estimate_decoded_mb(instances, spec, size)
    need = f"decoded, these videos take about {needed_mb:.0f} MB"
    if not share or needed_mb == 0:
        return CacheBudget(0, f"no decoded frames are kept: instances are longer than {MAX_FRAMES} frames")
    if max_mb < MIN_CORPUS_SHARE * needed_mb:
        return CacheBudget(0, f"no decoded frames are kept: {need}, and {max_mb:.0f} MB may be used (--cache-mb)")
    if max_mb >= needed_mb * 1.1:  # the estimate may be too low
        cached = "all of them are kept" if share == 1 else f"the {share:.0%} that are short enough are kept"
        return CacheBudget(int(min(max_mb, needed_mb * 1.5 + 16)), f"{need}: {cached}, and decoded once", share)
    explanation = f"{need}: the first {max_mb:.0f} MB are kept and decoded once (--cache-mb)"
    return CacheBudget(int(max_mb), explanation, share * min(1.0, max_mb / needed_mb))


def estimate_decoded_mb(instances: Sequence[Instance], spec: ClipSpec, size: tuple[int, int]) -> tuple[float, float]:
    """Estimated megabytes of all frames of the instances short enough to cache, and the share of such instances."""
    rows = np.linspace(0, len(instances) - 1, min(SAMPLE_SIZE, len(instances))).astype(int)
    result = run_isolated(count_all_frames, [instances[i] for i in rows], spec)
    if isinstance(result, WorkerFailure):  # a file crashed its decoder: the loader will name it
        return 0.0, 0.0
    counts = np.array(result, dtype=np.int64)
    short = counts[counts <= MAX_FRAMES]
    if not len(short):
        return 0.0, 0.0
    share = len(short) / len(counts)
    return float(short.mean()) * size[0] * size[1] * 3 * len(instances) * share / MB, share


def count_all_frames(instances: Sequence[Instance], spec: ClipSpec) -> list[int]:
    """`count_frames` of the instances that can be read."""
    return [count for count in (count_frames(instance, spec) for instance in instances) if count is not None]


def count_frames(instance: Instance, spec: ClipSpec) -> int | None:
    """Number of different frames that clips of an instance can show; None when the file can't be read."""
    try:
        times_s = index_frames(instance.path).times_s
    except VideoError:
        return None
    return len(np.unique(list_candidate_frames(times_s, spec, instance.start_s, instance.end_s)))
