"""Measures a run's pace: its first steps, which are then undone.

The number of steps follows from the pace, and the learning rate of the very first step from the number of steps. So the
steps that are measured can't be part of the run: they would have another learning rate than those of a run with
--steps. They are a rehearsal after the checkpoint of step 0, with the rate of the beginning of a warm-up that never
ends; then weights, memory and optimiser come back from that checkpoint, as in a run that resumes. The run is equal to
the bit to one with --steps, and a run that is killed while it measures measures again.
"""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import torch
from torch import Tensor

from unreel.training.batches import build_order, iterate_batches, plan_loading
from unreel.training.metrics import MetricLogger
from unreel.training.nan_guard import NanGuard
from unreel.training.run_folder.checkpoint import load_checkpoint
from unreel.training.run_length.time_plan import MIN_TIMED_STEPS, WARMUP_STEPS, Pace, RehearsalPlan
from unreel.training.train_step import TrainingSetup, select_usable_rows, update_weights
from unreel.types import Clips


@dataclasses.dataclass(frozen=True)
class RepeatedBatches:
    """An order of batches that goes through the same list again and again, to `num_steps`."""

    batches: list[list[tuple[int, int]]]
    num_steps: int
    first_step: int = 0

    def __len__(self) -> int:
        return self.num_steps - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return (self.batches[step % len(self.batches)] for step in range(self.first_step, self.num_steps))

    def skip_steps(self, num_steps: int) -> "RepeatedBatches":
        return dataclasses.replace(self, first_step=self.first_step + num_steps)


def measure_pace(setup: TrainingSetup, logger: MetricLogger, max_s: float) -> tuple[Pace, float]:
    """The pace of a run at step 0, and the seconds to put back its checkpoint; nothing of the run is changed.

    All processes take the same steps: rank 0 says when more than `max_s` have passed.
    """
    with keep_random_state(setup):
        pace = rehearse(setup, logger, max_s)
    began_s = time.perf_counter()
    load_checkpoint(setup.job.run_folder, setup.job.method, setup.optimizer)
    return pace, time.perf_counter() - began_s


def rehearse(setup: TrainingSetup, logger: MetricLogger, max_s: float) -> Pace:
    """Train on the first batches, then on the same again, and time the steps; see `RehearsalPlan`."""
    job, loading, group = setup.job, plan_loading(setup.job), logger.group
    num_ahead = loading.workers * job.settings.batches_ahead
    own_plan = RehearsalPlan(job.steps_per_epoch, num_ahead, loading.cache.kept_share)
    plan = group.on_rank_zero(lambda: own_plan)  # the memory that is free may differ
    order = RepeatedBatches(list(build_order(job, 0, plan.num_distinct, group)), plan.num_steps)
    guard = NanGuard(job.run_folder, job.instances, logger.nan_guard.is_deferred)
    step_seconds: list[float] = []
    began_s = step_began_s = time.perf_counter()
    with closing(iterate_batches(job, setup.fabric, logger, order, loading)) as batches:
        for step, clips in enumerate(batches):
            grad_norm = rehearse_step(setup, clips, step, guard, logger)
            if grad_norm is not None and step + 1 in plan.boundaries:
                grad_norm.to("cpu")  # wait until the device has done all steps so far
            now_s = time.perf_counter()
            step_seconds.append(now_s - step_began_s)
            step_began_s = now_s
            is_late = now_s - began_s > max_s and len(step_seconds) >= WARMUP_STEPS + MIN_TIMED_STEPS
            if group.all_gather(is_late)[0]:
                break
    return plan.compute_pace(step_seconds)


def rehearse_step(
    setup: TrainingSetup, clips: Clips, step: int, guard: NanGuard, logger: MetricLogger
) -> Tensor | None:
    """A training step without a log line; returns the gradient norm, or None for a batch that is skipped."""
    usable = select_usable_rows(setup.job, clips, logger)
    return None if usable is None else update_weights(setup, usable, step, guard, logger.group)[1]


@contextmanager
def keep_random_state(setup: TrainingSetup) -> Iterator[None]:
    """Put torch's random state back afterwards, which a network with dropout uses."""
    device = setup.fabric.device
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        yield
