"""One training step: views, loss, backward, update. The loop and `unreel bench` run this same step."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from unreel.models.fsdp import gather_full_tensor
from unreel.training.batches import equalize_ranks
from unreel.training.job import TrainingJob
from unreel.training.lr_schedule import compute_lr, set_lr
from unreel.training.metrics import MetricLogger
from unreel.training.nan_guard import NanGuard
from unreel.training.optimizers import build_optimizer
from unreel.training.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from unreel.training.runtime.fabric import build_fabric, is_sharded
from unreel.training.runtime.network_setup import (
    apply_channels_last,
    compile_backbones,
    convert_batch_norm,
    set_clips_at_once,
)
from unreel.types import Clips, StepOutput

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class TrainingSetup(NamedTuple):
    """A job, and its method and optimiser on the run's device."""

    job: TrainingJob
    fabric: "Fabric"
    method: Any
    optimizer: Any


def setup_training(job: TrainingJob, fabric: "Fabric | None" = None) -> TrainingSetup:
    """Bring method and optimiser to the run's device; builds a Fabric unless one is given."""
    settings = job.settings
    fabric = fabric or build_fabric(settings)
    apply_channels_last(job.method, settings)
    set_clips_at_once(job.method, settings)
    if is_sharded(settings, fabric.world_size) and fabric.global_rank == 0:
        job.full_encoder = copy.deepcopy(job.encoder)
    method = fabric.setup_module(convert_batch_norm(job.method, settings, fabric.world_size))
    optimizer = fabric.setup_optimizers(build_optimizer(job.method, settings))  # after the weights may be sharded
    compile_backbones(job.method, settings)
    return TrainingSetup(job, fabric, method, optimizer)


def train_step(setup: TrainingSetup, clips: Clips, step: int, logger: MetricLogger) -> None:
    """Train on one batch and log it; a batch with too few videos to contrast is skipped."""
    usable = select_usable_rows(setup.job, clips, logger)
    if usable is None:
        return
    output, grad_norm = update_weights(setup, usable, step, logger.nan_guard, logger.group)
    lr = setup.optimizer.param_groups[0]["lr"]
    logger.log_step(step + 1, output, grad_norm, lr, list_instance_rows(setup.job, usable))


def select_usable_rows(job: TrainingJob, clips: Clips, logger: MetricLogger) -> Clips | None:
    """As many rows of a batch as every process has; None when they are too few videos to contrast."""
    clips, num_videos = equalize_ranks(clips, logger, job.settings.draws_per_video)
    return None if num_videos < min(2, job.videos_per_step, len(job.instances)) else clips


def update_weights(
    setup: TrainingSetup,
    clips: Clips,
    step: int,
    nan_guard: NanGuard,
    group: ProcessGroup = SINGLE_PROCESS,
    mark: Callable[[str], None] = lambda part: None,
) -> tuple[StepOutput, Tensor]:
    """One optimiser step; returns the method's output and the gradient norm. `mark(part)` is called after each part.

    A loss or gradient that is not finite leaves the weights unchanged (nan_guard.py).
    """
    job, fabric, method, optimizer = setup
    set_lr(optimizer, compute_lr(step, job.total_steps, job.settings, job.steps_per_epoch))
    job.method.train()
    views = job.recipe(clips)
    mark("views")
    output: StepOutput = method(views)
    mark("loss")
    rows = list_instance_rows(job, clips)
    nan_guard.check_step("loss", output.loss, step, rows, group)
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(output.loss)
    mark("backward")
    grad_norm = compute_grad_norm(job.method)
    nan_guard.check_step("gradient", grad_norm, step, rows)
    nan_guard.block_update(optimizer, output.loss, grad_norm)
    optimizer.step()
    mark("optimiser")
    job.method.after_step()  # type: ignore[operator]
    mark("memory")
    return output, grad_norm


def list_instance_rows(job: TrainingJob, clips: Clips) -> list[int]:
    """The position of each row's instance in `job.instances`."""
    return [i % len(job.instances) for i in clips.rng_index_B.tolist()]


def compute_grad_norm(method: torch.nn.Module) -> Tensor:
    """Norm of all gradients together, over all processes where they are sharded."""
    return gather_full_tensor(
        torch.nn.utils.get_total_norm([p.grad for p in method.parameters() if p.grad is not None])
    )
