"""The training loop, on one screen, over Lightning Fabric.

A step is: decoded clips -> recipe -> method -> backward -> finite? -> optimiser -> after_step. All randomness comes
from (seed, epoch, index) and the learning rate from the step, so a resumed run needs only a step number and tensors.
"""

import time
from contextlib import closing
from typing import TYPE_CHECKING

from unreel.io.text import format_count
from unreel.models.encoder.encoder import Encoder
from unreel.models.fsdp import gather_state
from unreel.training.batches import iterate_batches
from unreel.training.job import TrainingJob
from unreel.training.metrics import MetricLogger
from unreel.training.monitors import evaluate_monitors, is_late, rate_checkpoint
from unreel.training.run_folder.checkpoint import collect_training_state, load_checkpoint, save_checkpoint
from unreel.training.run_length.length_choice import CommandClock, fix_length, predict_report_s
from unreel.training.runtime.distributed import ProcessGroup
from unreel.training.runtime.fabric import is_sharded
from unreel.training.runtime.network_setup import run_eager
from unreel.training.runtime.signals import catch_stop_signals
from unreel.training.train_step import TrainingSetup, setup_training, train_step

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(
    job: TrainingJob, resume: bool, quiet: bool, fabric: "Fabric", group: ProcessGroup, clock: CommandClock
) -> None:
    """Train to the last step, or to Ctrl-C; `job.state` tells how far it came. `clock` is for a run of some minutes."""
    setup = setup_training(job, fabric)
    if resume:  # after setup, so that the optimiser's state goes to the device of the weights
        job.state = load_checkpoint(job.run_folder, job.method, setup.optimizer)
        if job.state.best_step is not None and not is_late(job.state.best_step, job.total_steps):
            job.state.forget_best()  # the run has been lengthened
    logger = MetricLogger(job, quiet, group, resume)
    if resume and job.is_finished:
        logger.progress.print_message(f"all {format_count(job.total_steps, 'step')} of this run are done already")
    if not resume:
        began_s = time.monotonic()
        monitor_and_save(setup, logger)
        monitor_s = time.monotonic() - began_s
        logger.progress.report_s = predict_report_s(job, monitor_s, clock.report_clips)
        if job.settings.is_length_open:
            fix_length(setup, logger, clock, monitor_s)
    saved_at_s = time.monotonic()
    with catch_stop_signals() as caught, closing(logger), logger.progress:
        for step, clips in logger.progress.iterate_timed(iterate_batches(job, fabric, logger), job.state.step):
            train_step(setup, clips, step, logger)
            job.state.step = step + 1
            is_due = group.is_rank_zero and time.monotonic() - saved_at_s > 60 * job.settings.checkpoint_minutes
            stop, is_due = map(any, zip(*group.all_gather((bool(caught), is_due)), strict=True))
            if job.state.step % job.monitor_interval_steps == 0 or job.is_finished:
                monitor_and_save(setup, logger)
                saved_at_s = time.monotonic()
            elif stop or is_due:
                write_checkpoint(setup, logger)
                saved_at_s = time.monotonic()
            if stop:
                break


def monitor_and_save(setup: TrainingSetup, logger: MetricLogger) -> None:
    """Evaluate the label-free monitors, then save a checkpoint; remembers the best (rule in monitors.py)."""
    job, state = setup.job, setup.job.state
    logger.read_back()  # weights that are not finite must not be measured
    encoder = gather_encoder(job, logger.group)
    with run_eager(job.settings):
        monitors = logger.group.on_rank_zero(lambda: evaluate_monitors(encoder, job.monitored))
    if monitors is not None:
        logger.log_monitors(state.step, monitors)
        rating = rate_checkpoint(monitors, state.step, job.total_steps)
        takes_last = job.settings.best_checkpoint == "last"
        if rating is not None and (takes_last or state.best_step is None or rating >= state.best_rating):
            state.best_step, state.best_rating, state.best_mrr = state.step, rating, monitors.same_video_mrr
    write_checkpoint(setup, logger)


def write_checkpoint(setup: TrainingSetup, logger: MetricLogger) -> None:
    """Save a checkpoint, after every step in it is known to have been finite."""
    logger.read_back()
    job, group = setup.job, logger.group
    encoder = gather_encoder(job, group)
    training = collect_training_state(job.method, setup.optimizer, group.is_rank_zero)
    group.on_rank_zero(lambda: save_checkpoint(job.run_folder, encoder, training, job.state))


def gather_encoder(job: TrainingJob, group: ProcessGroup) -> Encoder:
    """The encoder; with sharded weights, the CPU copy of rank 0 filled with all of them."""
    if not is_sharded(job.settings, group.world_size):
        return job.encoder
    weights = gather_state(job.encoder.backbone.state_dict(), group.is_rank_zero)
    if job.full_encoder is None:
        return job.encoder
    job.full_encoder.backbone.load_state_dict(weights)
    return job.full_encoder
