"""A run's batches: decoded clips in the seed's order, this process's share of them, on the device."""

import dataclasses
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from unreel.io.limits import Limits, get_limits
from unreel.io.text import format_path
from unreel.settings import DataSettings
from unreel.settings.network import AUTO_WEIGHTS, BASE_NAMES, NO_WEIGHTS
from unreel.training.job import TrainingJob
from unreel.training.metrics import MetricLogger
from unreel.training.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from unreel.training.runtime.launch import count_processes
from unreel.types import Clips
from unreel.video.loading.cache_budget import CacheBudget, plan_cache_budget
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_resilient_loader, count_batches_in_memory, default_num_workers
from unreel.video.loading.synthetic_clips import SyntheticClipDataset
from unreel.video.sampling.batch_sampler import BatchOrder, ResumableBatchSampler

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def build_training_limits(settings: DataSettings) -> Limits:
    """The limits of a run for each file: the seconds of its settings, the memory of the surrounding `use_limits`."""
    return dataclasses.replace(get_limits(), file_limit_s=settings.file_limit_s)


def build_clip_dataset(job: TrainingJob, cache_mb: int) -> ClipDataset:
    """The clips of every instance, as this run draws them."""
    spec, recipe, settings = job.encoder.spec, job.recipe, job.settings
    sampling = (spec.clip, spec.views.resize_hw, recipe.num_clips, settings.seed, recipe.interval)
    dataset = SyntheticClipDataset if job.is_synthetic else ClipDataset
    return dataset(job.instances, *sampling, cache_mb, settings.draws_per_video)


class LoadingPlan(NamedTuple):
    """Loader processes, and frames kept in memory, of one of the training processes."""

    workers: int
    cache: CacheBudget


def plan_loading(job: TrainingJob) -> LoadingPlan:
    """Choose the number of loader processes and the memory for decoded frames."""
    settings, spec = job.settings, job.encoder.spec
    cache_mb = 0 if job.is_synthetic else settings.cache_mb  # a drawn clip is never seen again
    cache = plan_cache_budget(cache_mb, job.instances, spec.clip, spec.views.resize_hw)
    local_processes = count_processes(settings).per_machine  # they share the machine's memory and cores
    workers = max(1, default_num_workers() // local_processes) if settings.workers < 0 else settings.workers
    return LoadingPlan(workers, cache._replace(budget_mb=cache.budget_mb // local_processes))


def build_order(job: TrainingJob, first_step: int, stop_step: int, group: ProcessGroup) -> ResumableBatchSampler:
    """The instances of this process's share of each batch, in the seed's order."""
    sizes = (len(job.instances), job.videos_per_step, job.settings.seed)
    together = 2 if job.is_synthetic else 1  # motions that share their looks are each other's hardest negatives
    return ResumableBatchSampler(*sizes, first_step, stop_step, (group.rank, group.world_size), together)


def iterate_batches(
    job: TrainingJob,
    fabric: "Fabric",
    logger: MetricLogger | None = None,
    order: BatchOrder | None = None,
    loading: LoadingPlan | None = None,
) -> Generator[Clips, None, None]:
    """This process's share of the decoded batches, from the next step to the last, or in another `order`.

    Files that the run knows to be bad are not opened, so a file that hangs costs its time limit only once, also in a
    resumed run. Loader processes that start later also skip the files that other processes report.
    """
    settings, (workers, cache) = job.settings, loading or plan_loading(job)
    dataset = build_clip_dataset(job, cache.budget_mb)
    group, bad_files = (logger.group, logger.quarantine.failures) if logger else (SINGLE_PROCESS, {})
    if logger and order is None:
        loader = describe_loader(workers, settings.batches_ahead)
        lines = (describe_start(job), loader, cache.explanation, describe_small_batch(job))
        logger.progress.print_message("; ".join(filter(None, lines)))
    order = order or build_order(job, job.state.step, job.total_steps, group)
    dataset.exclude_files(bad_files.values())
    pin = fabric.device.type == "cuda"
    limits = build_training_limits(settings)
    for clips in build_resilient_loader(dataset, order, workers, pin, settings.batches_ahead, limits):
        num_known = len(bad_files)
        yield move_clips(clips, fabric)
        if len(bad_files) > num_known:
            dataset.exclude_files(bad_files.values())


def describe_start(job: TrainingJob) -> str:
    """What the weights of a new run are, unless they are random."""
    init = job.settings.init
    if init in (NO_WEIGHTS, AUTO_WEIGHTS) or job.state.step:
        return ""
    whence = ", an encoder that was trained on synthetic clips; --init none begins with random weights"
    return f"begins with {init}{whence if init in BASE_NAMES else ''}"


def describe_loader(num_workers: int, batches_ahead: int) -> str:
    """The number of loader processes, and the most batches that they hold in memory."""
    processes = {0: "no loader process", 1: "1 loader process"}.get(num_workers, f"{num_workers} loader processes")
    return f"{processes}, at most {count_batches_in_memory(num_workers, batches_ahead)} decoded batches in memory"


def describe_small_batch(job: TrainingJob) -> str:
    """A sentence when there are too few videos to fill a batch."""
    count = len(job.instances)
    if count >= job.videos_per_step:
        return ""
    sizes = f"batches of {count * job.settings.draws_per_video}, not {job.settings.batch_size}"
    return f"{sizes}: there are {count} videos or segments to train on"


def move_clips(clips: Clips, fabric: "Fabric") -> Clips:
    """Move a decoded batch to the device; frames stay uint8, and `draw_B` stays on the CPU."""
    moved = {
        f.name: move_tensor(getattr(clips, f.name), fabric) for f in dataclasses.fields(clips) if f.name != "draw_B"
    }
    return dataclasses.replace(clips, **moved)


def move_tensor(value: Any, fabric: "Fabric") -> Any:
    """Move a tensor to the device, as float32 where MPS has no float64; anything else is returned as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    if fabric.device.type == "mps" and value.dtype == torch.float64:
        value = value.float()
    return value.to(fabric.device, non_blocking=True)


def equalize_ranks(clips: Clips, logger: MetricLogger, draws_per_video: int) -> tuple[Clips, int]:
    """Cut the batch to the length of the shortest of all processes; returns it, and the videos of all together.

    Files that failed in any process go to the quarantine list.
    """
    answers = logger.group.all_gather((clips.failures, len(clips.index_B)))
    for failure in logger.quarantine.add([failure for failures, _ in answers for failure in failures]):
        logger.progress.print_message(format_path(f"left out from now on: {failure.path} ({failure})"))
    num_rows = min(rows for _, rows in answers)
    return clips.truncate(num_rows), num_rows * len(answers) // draws_per_video
