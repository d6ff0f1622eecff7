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

from unreel.models.encoder import Encoder
from unreel.models.shards import gathered, whole
from unreel.models.sync_norm import synchronise
from unreel.settings import Settings
from unreel.training.checkpoint import kept, load_checkpoint, save_checkpoint
from unreel.training.device import as_written, build_fabric, compile_networks, lay_out, limit_clips, processes, sharded
from unreel.training.log import Log
from unreel.training.monitors import measure
from unreel.training.optim import build_optimizer, lr_at, set_lr
from unreel.training.team import ALONE, Team
from unreel.types import Clips, Instance, StepOutput, Views
from unreel.video.cache_plan import plan_cache
from unreel.video.clips import ClipSpec
from unreel.video.dataset import InstanceClips, default_workers, most_batches, surviving_loader
from unreel.video.intervals import Interval
from unreel.video.order import Batches, steps_per_epoch

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Recipe(Protocol):
    """Makes a method's views of `num_clips` decoded clips per instance, `interval` apart."""

    @property
    def num_clips(self) -> int: ...

    @property
    def interval(self) -> Interval: ...

    def __call__(self, clips: Clips) -> Views: ...


@dataclass
class Job:
    """Everything a run trains with."""

    run: Path
    settings: Settings
    encoder: Encoder
    method: nn.Module
    recipe: Recipe
    instances: list[Instance]
    held_out: list[Instance]
    files: int
    whole: Encoder | None = None  # the first process's copy for what it does alone, where weights are spread
    state: dict[str, Any] = field(default_factory=lambda: {"step": 0, "best_step": None, "best_mrr": -1.0})

    @property
    def epoch_steps(self) -> int:
        return steps_per_epoch(len(self.instances), self.videos_a_step)

    @property
    def videos_a_step(self) -> int:
        """Instances that are opened for a batch; each gives `draws_per_video` rows of it."""
        return self.settings.batch_size // self.settings.draws_per_video

    @property
    def total_steps(self) -> int:
        return self.settings.steps or self.settings.epochs * self.epoch_steps

    @property
    def monitor_steps(self) -> int:
        """Steps between monitors: whole epochs, about ten times over the run."""
        epochs = self.settings.monitor_epochs or max(1, round(self.total_steps / self.epoch_steps / 10))
        return epochs * self.epoch_steps


def train(job: Job, resume: bool, quiet: bool, fabric: "Fabric", team: Team) -> dict[str, Any]:
    """Train to the last step, or to Ctrl-C; returns the state, with `interrupted` set in the latter case."""
    _, method, optimizer = set_up(job, fabric)
    if resume:  # after setup, so that the optimiser's state goes to the device of the weights
        job.state = load_checkpoint(job.run, job.method, optimizer)
    log = Log(job, quiet, team)
    if not resume:
        watch(job, log, optimizer)
    saved_at = time.monotonic()
    with stop_signals() as caught, closing(log), log.progress:
        for step, clips in log.progress.waiting(batches(job, fabric, log), job.state["step"]):
            one_step(job, fabric, method, optimizer, clips, step, log)
            done = job.state["step"] = step + 1
            due = team.main and time.monotonic() - saved_at > 60 * job.settings.checkpoint_minutes
            stop, due = map(any, zip(*team.told((bool(caught), due)), strict=True))
            if done % job.monitor_steps == 0 or done == job.total_steps:
                watch(job, log, optimizer)
                saved_at = time.monotonic()
            elif stop or due:
                save(job, log, optimizer)
                saved_at = time.monotonic()
            if stop:
                break
    job.state["interrupted"] = job.state["step"] < job.total_steps
    return job.state


def set_up(job: Job, fabric: "Fabric | None" = None) -> tuple["Fabric", Any, Any]:
    """Engine (a fresh one by default), method and optimiser on the run's device, ready for `one_step`."""
    fabric = fabric or build_fabric(job.settings)
    lay_out(job.method, job.settings)
    limit_clips(job.method, job.settings)
    if sharded(job.settings, fabric.world_size) and fabric.global_rank == 0:
        job.whole = copy.deepcopy(job.encoder)
    method = fabric.setup_module(synchronised(job.method, job.settings, fabric.world_size))
    optimizer = fabric.setup_optimizers(build_optimizer(job.method, job.settings))  # of weights that may be spread now
    compile_networks(job.method, job.settings)
    return fabric, method, optimizer


def synchronised(method: nn.Module, settings: Settings, world_size: int) -> nn.Module:
    """With several processes, batch norm over the batches of all of them; the same weights, the same method object."""
    if world_size == 1 or not settings.sync_batch_norm:
        return method
    if settings.device == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(method)
    return synchronise(method)  # torch has it for CUDA alone


def decoded_clips(job: Job, cache_mb: int) -> InstanceClips:
    """The clips of every instance, as this run draws them."""
    spec, recipe = job.encoder.spec, job.recipe
    how = (spec.clip, spec.views.resize_hw, recipe.num_clips, job.settings.seed, recipe.interval)
    return InstanceClips(job.instances, *how, cache_mb, job.settings.draws_per_video)


def batches(job: Job, fabric: "Fabric", log: Log | None = None) -> Generator[Clips, None, None]:
    """This process's share of the decoded batches, from the step to go on with to the last, in the seed's order.

    Files that the run knows to be bad are not opened, so one that hangs costs its time once in a run that goes on. What
    another process tells of later is known to loader processes that begin after it: to each process's next ones.
    """
    settings, spec = job.settings, job.encoder.spec
    plan = plan_cache(settings.cache_mb, job.instances, spec.clip, spec.views.resize_hw)
    here, _ = processes(settings)  # of this machine, whose memory and cores they share
    dataset = decoded_clips(job, plan.budget_mb // here)
    team, bad = (log.team, log.quarantine.known) if log else (ALONE, {})
    left, part = (job.state["step"], job.total_steps), (team.rank, team.size)
    order = Batches(len(job.instances), job.videos_a_step, settings.seed, *left, part)
    workers = max(1, default_workers() // here) if settings.workers < 0 else settings.workers
    if log:
        said = (said_of(workers, settings.batches_ahead), plan.sentence, small_batches(job))
        log.progress.say("; ".join(filter(None, said)))
    dataset.leave_out(bad)
    pin = fabric.device.type == "cuda"
    for clips in surviving_loader(dataset, order, workers, pin, settings.batches_ahead, settings.file_limit_s):
        known = len(bad)
        yield on_device(clips, fabric)
        if len(bad) > known:
            dataset.leave_out(bad)


def said_of(workers: int, ahead: int) -> str:
    """The loader's processes, and the most memory that it takes."""
    many = {0: "no loader process", 1: "1 loader process"}.get(workers, f"{workers} loader processes")
    return f"{many}, at most {most_batches(workers, ahead)} decoded batches in memory"


def small_batches(job: Job) -> str:
    """A sentence when the batch that was asked for can't be filled."""
    count = len(job.instances)
    if count >= job.videos_a_step:
        return ""
    found = f"batches of {count * job.settings.draws_per_video}, not {job.settings.batch_size}"
    return f"{found}: there are {count} videos or segments to train on"


def on_device(clips: Clips, fabric: "Fabric") -> Clips:
    """A decoded batch where the network is; frames travel as the bytes that they are, who draws stays on the CPU."""
    there = {f.name: to(getattr(clips, f.name), fabric) for f in dataclasses.fields(clips) if f.name != "draw_B"}
    return dataclasses.replace(clips, **there)


def to(value: Any, fabric: "Fabric") -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    if fabric.device.type == "mps" and value.dtype == torch.float64:
        value = value.float()
    return value.to(fabric.device, non_blocking=True)


def one_step(job: Job, fabric: "Fabric", method: Any, optimizer: Any, clips: Clips, step: int, log: Log) -> None:
    """One optimiser step; a loss or gradient that is not finite leaves the weights as they are (finite.py)."""
    clips, videos = even(clips, log, job.settings.draws_per_video)
    if videos < min(2, job.videos_a_step, len(job.instances)):
        return  # nothing is left of the batch, or nobody to contrast with
    set_lr(optimizer, lr_at(step, job.total_steps, job.settings))
    job.method.train()
    output: StepOutput = method(job.recipe(clips))
    rows = [i % len(job.instances) for i in clips.chance_B.tolist()]
    log.finite.at_once("loss", output.loss, step, rows, log.team)
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(output.loss)
    norm = whole(torch.nn.utils.get_total_norm([p.grad for p in job.method.parameters() if p.grad is not None]))
    log.finite.at_once("gradient", norm, step, rows)
    log.finite.hold_back(optimizer, output.loss, norm)
    optimizer.step()
    job.method.after_step()  # type: ignore[operator]
    log.step(step + 1, output, norm, optimizer.param_groups[0]["lr"], rows)


def even(clips: Clips, log: Log, draws: int) -> tuple[Clips, int]:
    """A batch with as many videos in every process, files that failed left out; and the videos of all together."""
    told = log.team.told((clips.failed, len(clips.index_B)))
    for path, why in log.quarantine.add([bad for failed, _ in told for bad in failed]):
        log.progress.say(f"left out from now on: {path} ({why})")
    least = min(rows for _, rows in told)
    return clips.first(least), least * len(told) // draws


def watch(job: Job, log: Log, optimizer: Any) -> None:
    """Label-free monitors, then a checkpoint; the best so far is remembered (the rule stands in monitors.py)."""
    log.read_back()  # weights that are not finite must not be measured
    encoder = whole_encoder(job, log.team)
    with as_written(job.settings):
        found = log.team.first(lambda: measure(encoder, job.held_out or job.instances[:200]))
    if found is not None:
        log.monitors(job.state["step"], found)
        eligible = 4 * job.state["step"] >= 3 * job.total_steps and not found.collapsed
        if eligible and found.same_video_mrr >= job.state["best_mrr"]:
            job.state |= {"best_mrr": found.same_video_mrr, "best_step": job.state["step"]}
    save(job, log, optimizer)


def save(job: Job, log: Log, optimizer: Any) -> None:
    """Write a checkpoint, once every step that it holds is known to have been finite."""
    log.read_back()
    encoder, training = whole_encoder(job, log.team), kept(job.method, optimizer, log.team.main)
    log.team.first(lambda: save_checkpoint(job.run, job.state["step"], encoder, training, job.state))


def whole_encoder(job: Job, team: Team) -> Encoder:
    """The encoder; where its weights are spread, the first process's copy on the CPU, filled with all of them."""
    if not sharded(job.settings, team.size):
        return job.encoder
    weights = gathered(job.encoder.backbone.state_dict(), team.main)
    if job.whole is None:
        return job.encoder
    job.whole.backbone.load_state_dict(weights)
    return job.whole


@contextmanager
def stop_signals() -> Iterator[list[int]]:
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


def clip_spec(settings: Settings, lead_in: int) -> ClipSpec:
    """How clips are cut, from the run's settings."""
    return ClipSpec(settings.num_frames, settings.fps, settings.stride_frames, lead_in, settings.short)
