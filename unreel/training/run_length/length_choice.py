"""Fixes the number of steps of a run, once: measures, plans, writes it into config.json, and says how long it takes."""

import time
from dataclasses import dataclass

from unreel.io.text import format_count, format_duration
from unreel.training.job import TrainingJob
from unreel.training.metrics import MetricLogger
from unreel.training.monitors import count_monitor_clips
from unreel.training.run_folder.config import save_steps
from unreel.training.run_length.default_length import choose_default_steps
from unreel.training.run_length.rehearsal import measure_pace
from unreel.training.run_length.time_plan import Pace, RunCosts, estimate_report_s
from unreel.training.train_step import TrainingSetup

TOLERANCE = 0.02  # of the minutes, which is not worth a warning
REHEARSAL_SHARE = 0.05  # of the minutes, which measuring may take
MAX_REHEARSAL_S = 60.0  # where no minutes are named


@dataclass(frozen=True)
class CommandClock:
    """When the command began (`time.monotonic`), and how many clips its report embeds after training."""

    began_s: float
    report_clips: int

    def elapsed_s(self) -> float:
        return time.monotonic() - self.began_s


def fix_length(setup: TrainingSetup, logger: MetricLogger, clock: CommandClock, monitor_s: float) -> None:
    """Set the number of steps of a run at step 0 whose length is open; `monitor_s` is what monitors took there.

    Rank 0 plans and writes; all processes take its number.
    """
    job, minutes = setup.job, setup.job.settings.minutes
    logger.progress.print_message("measuring the pace on the first batches; the run then begins anew with them")
    max_s = MAX_REHEARSAL_S if minutes is None else REHEARSAL_SHARE * 60 * minutes
    pace, restore_s = measure_pace(setup, logger, max_s)
    costs = estimate_costs(job, pace, monitor_s, restore_s, clock.report_clips)

    def plan_and_save() -> int:
        num_steps = plan_steps(job, costs, clock)
        save_steps(job.run_folder, num_steps)
        return num_steps

    num_steps = logger.group.on_rank_zero(plan_and_save)
    job.fix_steps(num_steps)
    logger.progress.set_length(num_steps, (costs.predict_s(num_steps) - costs.report_s) / num_steps)
    logger.progress.print_message(describe_length(num_steps, minutes, costs, clock.elapsed_s()))


def estimate_costs(job: TrainingJob, pace: Pace, monitor_s: float, checkpoint_s: float, report_clips: int) -> RunCosts:
    """The costs of a run's parts; to write a checkpoint takes about as long as to read it."""
    return RunCosts(
        pace=pace,
        steps_per_epoch=job.steps_per_epoch,
        monitor_s=monitor_s,
        checkpoint_s=checkpoint_s,
        report_s=predict_report_s(job, monitor_s, report_clips),
        checkpoint_interval_s=60 * job.settings.checkpoint_minutes,
        compute_monitor_interval=job.compute_monitor_interval,
    )


def predict_report_s(job: TrainingJob, monitor_s: float, report_clips: int) -> float:
    """Seconds from the last step to the end of the command, from those of the monitors at step 0."""
    return estimate_report_s(monitor_s, count_monitor_clips(len(job.monitor_instances)), report_clips)


def plan_steps(job: TrainingJob, costs: RunCosts, clock: CommandClock) -> int:
    """Steps that fit into the rest of the minutes, at least one; where none are named, what the corpus needs."""
    if job.settings.minutes is None:
        return choose_default_steps(job.steps_per_epoch)
    return max(1, costs.fit_steps(60 * job.settings.minutes - clock.elapsed_s()))


def describe_length(num_steps: int, minutes: float | None, costs: RunCosts, elapsed_s: float) -> str:
    """What a person is told before training starts: how many steps, why, and how long they take."""
    passes = num_steps / costs.steps_per_epoch
    times = f"{passes:.3g} {'pass' if passes == 1 else 'passes'} over the videos"
    steps = f"{format_count(num_steps, 'step')} ({times}) at {describe_pace(costs.pace)}"
    total_s = costs.predict_s(num_steps)
    if minutes is None:
        return (
            f"no length was named, so the run gets what a corpus of this size needs: {steps}, about "
            f"{format_duration(total_s)} on this machine with monitors and report; --minutes, --steps or --epochs name "
            "another length"
        )
    passed, others = format_duration(elapsed_s), format_duration(total_s - costs.predict_loop_s(num_steps))
    plan = f"{format_minutes(minutes)}: {steps}; {passed} have passed, {others} are for monitors and report"
    is_late = num_steps == 1 and elapsed_s + total_s > (1 + TOLERANCE) * 60 * minutes
    if passes >= 1 and not is_late:
        return plan
    return f"{plan}\n{describe_shortage(num_steps, minutes, is_late, costs, elapsed_s)}"


def describe_pace(pace: Pace) -> str:
    """Seconds of a step; those of the first pass too where they are more."""
    text = f"{format_duration(pace.later_pass_s)} a step"
    if pace.first_pass_s < 1.1 * pace.later_pass_s:
        return text
    return f"{text}, {format_duration(pace.first_pass_s)} in the first pass"


def describe_shortage(num_steps: int, minutes: float, is_late: bool, costs: RunCosts, elapsed_s: float) -> str:
    """The warning for minutes that hold no step, or less than one pass: what happens, and what is needed."""
    own, one_pass, enough = (
        format_duration(elapsed_s + costs.predict_s(n))
        for n in (num_steps, costs.steps_per_epoch, choose_default_steps(costs.steps_per_epoch))
    )
    what = f"one pass over the videos: the run has {num_steps:,} of its {format_count(costs.steps_per_epoch, 'step')}"
    if is_late:
        what = f"a step with monitors and report: the run has one step and takes {own}"
    needed = f"One pass takes {one_pass} in all; without --minutes, a run on these videos takes {enough}"
    return f"warning: {format_minutes(minutes)} {'is' if minutes == 1 else 'are'} too short for {what}. {needed}"


def format_minutes(minutes: float) -> str:
    """As they were asked for, e.g. `1 minute`, `0.5 minutes`."""
    return f"{minutes:g} {'minute' if minutes == 1 else 'minutes'}"
