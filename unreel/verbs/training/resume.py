"""Go on with a run that was stopped."""

import dataclasses
import time
from pathlib import Path
from typing import Literal

from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.io.limits import use_limits
from unreel.models.encoder.checkpoint_files import read_spec
from unreel.own_code.copies import use_copies
from unreel.training.batches import build_training_limits
from unreel.training.job import TrainingJob, build_training_job
from unreel.training.lr_schedule import describe_new_length
from unreel.training.method_contract import explain_own_errors
from unreel.training.progress_bar import TrainingProgress
from unreel.training.run_folder.checkpoint_index import (
    find_last_checkpoint,
    has_checkpoint,
    parse_step,
    rewind_to_step,
)
from unreel.training.run_folder.config import (
    RunConfig,
    adapt_settings,
    read_config,
    require_trusted_imports,
    save_steps,
)
from unreel.training.run_folder.run_provenance import note_resumption
from unreel.training.runtime.distributed import ProcessGroup
from unreel.training.runtime.launch import require_enough_instances
from unreel.training.runtime.processes import lock_run, run_processes
from unreel.verbs.training.pretrain import RunOutcome, train_and_report


def resume(
    run: str | Path,
    quiet: bool = False,
    allow_import: bool = False,
    devices: int = 0,
    shard: Literal["as-before", "on", "off"] = "as-before",
    step: int | None = None,
    steps: int | None = None,
) -> RunOutcome:
    """Go on with a run that was stopped; needs nothing but its folder. On a CPU the result is equal to the bit.

    Args:
        run: folder of the run.
        quiet: print nothing while training.
        allow_import: import, and so execute, the network or method of your own that the run names.
        devices: number of processes; 0 means as many as before. The order of the videos stays the same.
        shard: spread the weights over the processes (FSDP), or keep all of them in each.
        step: go on from the checkpoint of this step instead of the last one.
        steps: train to this many steps in all. Where the learning rate of the steps done depends on the length of the
            run (every schedule but a constant one without warm-up), it changes here to that of a run of so many steps.

    Returns:
        The last state: step, best_step, best_mrr, interrupted, rank.

    Raises:
        RunError: the folder is not a run, or names foreign code and `allow_import` is not set.
        CheckpointError: a checkpoint is damaged or missing.
        InputError: `steps` are fewer than are done.

    >>> unreel.resume(run, quiet=True)["interrupted"]
    False
    """
    return resume_run(Path(run), quiet, allow_import, devices, shard, step, steps)


def resume_run(
    run: Path,
    quiet: bool = False,
    allow_import: bool = False,
    devices: int = 0,
    shard: Literal["as-before", "on", "off"] = "as-before",
    step: int | None = None,
    steps: int | None = None,
    with_report: bool = True,
) -> RunOutcome:
    """`resume`, on wish without the report at the end."""
    began_s = time.monotonic()
    config = read_config(run)
    require_trusted_imports(run, config, allow_import)
    use_copies(run)
    run_config = RunConfig.from_json(config)
    settings = run_config.settings
    settings = adapt_settings(settings, devices or settings.devices, settings.shard if shard == "as-before" else shard)
    run_config = dataclasses.replace(run_config, settings=settings)
    limits = build_training_limits(settings)
    with (
        explain_own_errors(run_config),
        use_limits(limits),
        run_processes(settings, run) as (fabric, group),
        lock_run(run, group),
    ):
        group.on_rank_zero(lambda: note_resumption(run))
        if step is not None:
            group.on_rank_zero(lambda: rewind_to_step(run, step))
        # A run that was stopped before its first checkpoint, or while its pace was measured, starts again: same seed.
        is_begun = has_checkpoint(run) and not settings.is_length_open
        options = read_spec(find_last_checkpoint(run)).options if is_begun else None
        job = build_training_job(run, Manifest.load(run), run_config, options)
        require_enough_instances(len(job.instances), group.world_size)
        if steps is not None:
            change_length(job, steps, is_begun, quiet, group)
        return train_and_report(job, is_begun, quiet, fabric, group, began_s, with_report)


def change_length(job: TrainingJob, steps: int, is_begun: bool, quiet: bool, group: ProcessGroup) -> None:
    """Set the number of steps of a run, here and in its config.json, and say what that does to the learning rate.

    Raises InputError for fewer steps than are done.
    """
    done = parse_step(find_last_checkpoint(job.run_folder)) if is_begun else 0
    if steps < max(1, done):
        allowed = f"--steps is {max(1, done)} or more, got {steps}"
        raise InputError(f"{job.run_folder} has done {done} steps already; {allowed}")
    settings, before = job.settings, job.total_steps
    job.fix_steps(steps)
    group.on_rank_zero(lambda: save_steps(job.run_folder, steps))
    progress = TrainingProgress(steps, done, quiet or not group.is_rank_zero)
    progress.print_message(describe_new_length(done, before, steps, settings, job.steps_per_epoch))
