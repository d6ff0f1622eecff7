"""The training loop, on one screen, over Lightning Fabric.

A step is: decoded clips -> recipe -> method -> backward -> finite? -> optimiser -> after_step. All chance comes from
(seed, epoch, index) and the learning rate from the step, so going on needs a step number and the tensors, no more.
"""

import copy
import dataclasses
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from unreel.models.encoder.encoder import Encoder
from unreel.models.fsdp import gather_full_tensor, gather_state
from unreel.models.sync_batch_norm import convert_sync_batch_norm
from unreel.settings import DataSettings, RuntimeSettings, Settings
from unreel.training.metrics import MetricLogger
from unreel.training.monitors import evaluate_monitors
from unreel.training.optimizers import build_optimizer, compute_lr, set_lr
from unreel.training.run_folder.checkpoint import collect_training_state, load_checkpoint, save_checkpoint
from unreel.training.runtime.auto_settings import (
    apply_channels_last,
    build_fabric,
    compile_backbones,
    count_processes,
    is_sharded,
    run_eager,
    set_clips_at_once,
)
from unreel.training.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from unreel.types import Clips, Instance, StepOutput, Views
from unreel.video.loading.cache_budget import plan_cache_budget
from unreel.video.loading.clip_dataset import (
    ClipDataset,
    build_resilient_loader,
    count_batches_in_memory,
    default_num_workers,
)
from unreel.video.sampling.batch_sampler import ResumableBatchSampler, steps_per_epoch
from unreel.video.sampling.pair_sampling import IntervalDistribution
from unreel.video.sampling.timeline import ClipSpec

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Recipe(Protocol):
    """Makes a method's views of `num_clips` decoded clips per instance, `interval` apart."""

    @property
    def num_clips(self) -> int: ...

    @property
    def interval(self) -> IntervalDistribution: ...

    def __call__(self, clips: Clips) -> Views: ...


@dataclass
class TrainingJob:
    """Everything a run trains with."""

    run_folder: Path
    settings: Settings
    encoder: Encoder
    method: nn.Module
    recipe: Recipe
    instances: list[Instance]
    held_out: list[Instance]
    num_files: int
    full_encoder: Encoder | None = None  # the first process's copy for what it does alone, where weights are spread
    state: dict[str, Any] = field(default_factory=lambda: {"step": 0, "best_step": None, "best_mrr": -1.0})

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.instances), self.videos_per_step)

    @property
    def videos_per_step(self) -> int:
        """Instances that are opened for a batch; each gives `draws_per_video` rows of it."""
        return self.settings.batch_size // self.settings.draws_per_video

    @property
    def total_steps(self) -> int:
        return self.settings.steps or self.settings.epochs * self.steps_per_epoch

    @property
    def monitor_interval_steps(self) -> int:
        """Steps between monitors: whole epochs, about ten times over the run."""
        epochs = self.settings.monitor_epochs or max(1, round(self.total_steps / self.steps_per_epoch / 10))
        return epochs * self.steps_per_epoch


def train(job: TrainingJob, resume: bool, quiet: bool, fabric: "Fabric", group: ProcessGroup) -> dict[str, Any]:
    """Train to the last step, or to Ctrl-C; returns the state, with `interrupted` set in the latter case."""
    _, method, optimizer = setup_training(job, fabric)
    if resume:  # after setup, so that the optimiser's state goes to the device of the weights
        job.state = load_checkpoint(job.run_folder, job.method, optimizer)
    log = MetricLogger(job, quiet, group)
    if not resume:
        monitor_and_save(job, log, optimizer)
    saved_at = time.monotonic()
    with catch_stop_signals() as caught, closing(log), log.progress:
        for step, clips in log.progress.iterate_timed(iterate_batches(job, fabric, log), job.state["step"]):
            train_step(job, fabric, method, optimizer, clips, step, log)
            done = job.state["step"] = step + 1
            due = group.is_rank_zero and time.monotonic() - saved_at > 60 * job.settings.checkpoint_minutes
            stop, due = map(any, zip(*group.all_gather((bool(caught), due)), strict=True))
            if done % job.monitor_interval_steps == 0 or done == job.total_steps:
                monitor_and_save(job, log, optimizer)
                saved_at = time.monotonic()
            elif stop or due:
                write_checkpoint(job, log, optimizer)
                saved_at = time.monotonic()
            if stop:
                break
    job.state["interrupted"] = job.state["step"] < job.total_steps
    return job.state


def setup_training(job: TrainingJob, fabric: "Fabric | None" = None) -> tuple["Fabric", Any, Any]:
    """Engine (a fresh one by default), method and optimiser on the run's device, ready for `one_step`."""
    fabric = fabric or build_fabric(job.settings)
    apply_channels_last(job.method, job.settings)
    set_clips_at_once(job.method, job.settings)
    if is_sharded(job.settings, fabric.world_size) and fabric.global_rank == 0:
        job.full_encoder = copy.deepcopy(job.encoder)
    method = fabric.setup_module(convert_batch_norm(job.method, job.settings, fabric.world_size))
    optimizer = fabric.setup_optimizers(build_optimizer(job.method, job.settings))  # of weights that may be spread now
    compile_backbones(job.method, job.settings)
    return fabric, method, optimizer


def convert_batch_norm(method: nn.Module, settings: RuntimeSettings, world_size: int) -> nn.Module:
    """With several processes, batch norm over the batches of all of them; the same weights, the same method object."""
    if world_size == 1 or not settings.sync_batch_norm:
        return method
    if settings.device == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(method)
    return convert_sync_batch_norm(method)  # torch has it for CUDA alone


def build_clip_dataset(job: TrainingJob, cache_mb: int) -> ClipDataset:
    """The clips of every instance, as this run draws them."""
    spec, recipe = job.encoder.spec, job.recipe
    how = (spec.clip, spec.views.resize_hw, recipe.num_clips, job.settings.seed, recipe.interval)
    return ClipDataset(job.instances, *how, cache_mb, job.settings.draws_per_video)


def iterate_batches(
    job: TrainingJob, fabric: "Fabric", logger: MetricLogger | None = None
) -> Generator[Clips, None, None]:
    """This process's share of the decoded batches, from the step to go on with to the last, in the seed's order.

    Files that the run knows to be bad are not opened, so one that hangs costs its time once in a run that goes on. What
    another process tells of later is known to loader processes that begin after it: to each process's next ones.
    """
    settings, spec = job.settings, job.encoder.spec
    plan = plan_cache_budget(settings.cache_mb, job.instances, spec.clip, spec.views.resize_hw)
    here, _ = count_processes(settings)  # of this machine, whose memory and cores they share
    dataset = build_clip_dataset(job, plan.budget_mb // here)
    team, bad = (logger.group, logger.quarantine.failures) if logger else (SINGLE_PROCESS, {})
    left, part = (job.state["step"], job.total_steps), (team.rank, team.world_size)
    order = ResumableBatchSampler(len(job.instances), job.videos_per_step, settings.seed, *left, part)
    workers = max(1, default_num_workers() // here) if settings.workers < 0 else settings.workers
    if logger:
        said = (describe_loader(workers, settings.batches_ahead), plan.explanation, describe_small_batch(job))
        logger.progress.print_message("; ".join(filter(None, said)))
    dataset.exclude_files(bad.values())
    pin = fabric.device.type == "cuda"
    for clips in build_resilient_loader(dataset, order, workers, pin, settings.batches_ahead, settings.file_limit_s):
        known = len(bad)
        yield move_clips(clips, fabric)
        if len(bad) > known:
            dataset.exclude_files(bad.values())


def describe_loader(num_workers: int, batches_ahead: int) -> str:
    """The loader's processes, and the most memory that it takes."""
    many = {0: "no loader process", 1: "1 loader process"}.get(num_workers, f"{num_workers} loader processes")
    return f"{many}, at most {count_batches_in_memory(num_workers, batches_ahead)} decoded batches in memory"


def describe_small_batch(job: TrainingJob) -> str:
    """A sentence when the batch that was asked for can't be filled."""
    count = len(job.instances)
    if count >= job.videos_per_step:
        return ""
    found = f"batches of {count * job.settings.draws_per_video}, not {job.settings.batch_size}"
    return f"{found}: there are {count} videos or segments to train on"


def move_clips(clips: Clips, fabric: "Fabric") -> Clips:
    """A decoded batch where the network is; frames travel as the bytes that they are, who draws stays on the CPU."""
    there = {
        f.name: move_tensor(getattr(clips, f.name), fabric) for f in dataclasses.fields(clips) if f.name != "draw_B"
    }
    return dataclasses.replace(clips, **there)


def move_tensor(value: Any, fabric: "Fabric") -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    if fabric.device.type == "mps" and value.dtype == torch.float64:
        value = value.float()
    return value.to(fabric.device, non_blocking=True)


def train_step(
    job: TrainingJob, fabric: "Fabric", method: Any, optimizer: Any, clips: Clips, step: int, logger: MetricLogger
) -> None:
    """One optimiser step; a loss or gradient that is not finite leaves the weights as they are (finite.py)."""
    clips, videos = equalize_ranks(clips, logger, job.settings.draws_per_video)
    if videos < min(2, job.videos_per_step, len(job.instances)):
        return  # nothing is left of the batch, or nobody to contrast with
    set_lr(optimizer, compute_lr(step, job.total_steps, job.settings))
    job.method.train()
    output: StepOutput = method(job.recipe(clips))
    rows = [i % len(job.instances) for i in clips.rng_index_B.tolist()]
    logger.nan_guard.check_step("loss", output.loss, step, rows, logger.group)
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(output.loss)
    norm = gather_full_tensor(
        torch.nn.utils.get_total_norm([p.grad for p in job.method.parameters() if p.grad is not None])
    )
    logger.nan_guard.check_step("gradient", norm, step, rows)
    logger.nan_guard.block_update(optimizer, output.loss, norm)
    optimizer.step()
    job.method.after_step()  # type: ignore[operator]
    logger.log_step(step + 1, output, norm, optimizer.param_groups[0]["lr"], rows)


def equalize_ranks(clips: Clips, logger: MetricLogger, draws_per_video: int) -> tuple[Clips, int]:
    """A batch with as many videos in every process, files that failed left out; and the videos of all together."""
    told = logger.group.all_gather((clips.failures, len(clips.index_B)))
    for failure in logger.quarantine.add([failure for failures, _ in told for failure in failures]):
        logger.progress.print_message(f"left out from now on: {failure.path} ({failure})")
    least = min(rows for _, rows in told)
    return clips.truncate(least), least * len(told) // draws_per_video


def monitor_and_save(job: TrainingJob, logger: MetricLogger, optimizer: Any) -> None:
    """Label-free monitors, then a checkpoint; the best so far is remembered (the rule stands in monitors.py)."""
    logger.read_back()  # weights that are not finite must not be measured
    encoder = gather_encoder(job, logger.group)
    with run_eager(job.settings):
        found = logger.group.on_rank_zero(lambda: evaluate_monitors(encoder, job.held_out or job.instances[:200]))
    if found is not None:
        logger.log_monitors(job.state["step"], found)
        eligible = 4 * job.state["step"] >= 3 * job.total_steps and not found.has_collapsed
        if eligible and found.same_video_mrr >= job.state["best_mrr"]:
            job.state |= {"best_mrr": found.same_video_mrr, "best_step": job.state["step"]}
    write_checkpoint(job, logger, optimizer)


def write_checkpoint(job: TrainingJob, logger: MetricLogger, optimizer: Any) -> None:
    """Write a checkpoint, once every step that it holds is known to have been finite."""
    logger.read_back()
    encoder, training = (
        gather_encoder(job, logger.group),
        collect_training_state(job.method, optimizer, logger.group.is_rank_zero),
    )
    logger.group.on_rank_zero(lambda: save_checkpoint(job.run_folder, job.state["step"], encoder, training, job.state))


def gather_encoder(job: TrainingJob, group: ProcessGroup) -> Encoder:
    """The encoder; where its weights are spread, the first process's copy on the CPU, filled with all of them."""
    if not is_sharded(job.settings, group.world_size):
        return job.encoder
    weights = gather_state(job.encoder.backbone.state_dict(), group.is_rank_zero)
    if job.full_encoder is None:
        return job.encoder
    job.full_encoder.backbone.load_state_dict(weights)
    return job.full_encoder


@contextmanager
def catch_stop_signals() -> Iterator[list[int]]:
    """Turn Ctrl-C and SIGTERM into an entry of the list, so that a run ends after a whole step."""
    caught: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, as in a notebook server: leave signals alone
        before = {}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def build_clip_spec(settings: DataSettings, lead_in: int) -> ClipSpec:
    """How clips are cut, from the run's settings."""
    return ClipSpec(settings.num_frames, settings.fps, settings.stride_frames, lead_in, settings.short)
