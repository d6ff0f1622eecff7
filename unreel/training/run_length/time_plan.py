"""From minutes to steps: arithmetic on measured times, without a clock.

    time(N) = first s_1 + (N - first) s_2 + monitors(N) m + checkpoints(N) c + r,    first = min(N, steps of a pass)

s_1 and s_2 are the seconds of a step of the first pass over the videos and of a later one, which finds decoded frames
in memory; m, c and r are those of the monitors with their checkpoint, of a checkpoint alone, and of the report. The
number of steps is the one that just fits: time(N) <= available < time(N + 1).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

REPORT_START_S = 10.0  # what a report takes beside embedding: charts, frames, floors of the verdict (docs/log.md)
MAX_REPORT_S = 270.0  # the gallery and the verdict stop to embed videos after two minutes each


@dataclass(frozen=True)
class Pace:
    """Seconds of a step, with its share of loading: in the first pass over the videos, and in later ones."""

    first_pass_s: float
    later_pass_s: float


@dataclass(frozen=True)
class RunCosts:
    """What the parts of a run take, in seconds, and how often they come.

    `compute_monitor_interval` gives the steps between monitors in a run of so many steps.
    """

    pace: Pace
    steps_per_epoch: int
    monitor_s: float
    checkpoint_s: float
    report_s: float
    checkpoint_interval_s: float
    compute_monitor_interval: Callable[[int], int]

    def predict_loop_s(self, num_steps: int) -> float:
        """Seconds of the steps alone."""
        first = min(num_steps, self.steps_per_epoch)
        return first * self.pace.first_pass_s + (num_steps - first) * self.pace.later_pass_s

    def predict_s(self, num_steps: int) -> float:
        """Seconds from the first step to the end of the command."""
        loop_s = self.predict_loop_s(num_steps)
        monitors = math.ceil(num_steps / self.compute_monitor_interval(num_steps))  # one is at the end
        checkpoints = loop_s // self.checkpoint_interval_s
        return loop_s + monitors * self.monitor_s + checkpoints * self.checkpoint_s + self.report_s

    def fit_steps(self, available_s: float) -> int:
        """The number of steps that just fits into the time; 0 when not even one does."""
        too_many = 1
        while self.predict_s(too_many) <= available_s:
            too_many *= 2
        fits = too_many // 2
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            fits, too_many = (middle, too_many) if self.predict_s(middle) <= available_s else (fits, middle)
        return fits


def estimate_report_s(monitor_s: float, monitor_clips: int, report_clips: int) -> float:
    """Seconds of a report that embeds `report_clips` clips, when monitors embed `monitor_clips` in `monitor_s`."""
    return min(MAX_REPORT_S, REPORT_START_S + monitor_s * report_clips / max(1, monitor_clips))


WARMUP_STEPS = 3  # memory is laid out, kernels are chosen, loader processes start
TIMED_STEPS, MIN_TIMED_STEPS = 24, 5  # of each pass; the least that gives a pace


@dataclass(frozen=True)
class RehearsalPlan:
    """Which steps of a rehearsal are timed: some batches of the first pass over the videos, then the same again.

    At the beginning of either pass, as many steps as batches are prepared ahead (`num_ahead`) are not timed: those
    batches were made while no step ran, or during the other pass. Where no frames are kept, there is no second pass.
    """

    steps_per_epoch: int
    num_ahead: int
    kept_share: float  # of the videos: those whose frames stay decoded after the first pass

    @property
    def first_timed(self) -> int:
        return WARMUP_STEPS + self.num_ahead

    @property
    def num_distinct(self) -> int:
        """Batches of the first pass, the whole of it where it is short."""
        return min(self.steps_per_epoch, self.first_timed + TIMED_STEPS)

    @property
    def repeat_timed(self) -> int:
        """The first timed step of the second pass."""
        return max(self.num_distinct + self.num_ahead, self.first_timed) if self.kept_share else self.first_timed

    @property
    def num_steps(self) -> int:
        return self.repeat_timed + TIMED_STEPS

    @property
    def boundaries(self) -> tuple[int, int, int, int]:
        """Steps before which a device must have done its work, or a step would be counted to the wrong part."""
        return (self.first_timed, self.num_distinct, self.repeat_timed, self.num_steps)

    def compute_pace(self, step_seconds: Sequence[float]) -> Pace:
        """The pace from the seconds of each step; a rehearsal that took too long may have ended early.

        Means, not medians: a loader process that shares a core with the network makes steps of two kinds, and a run
        takes the sum of both.
        """
        steps = list(step_seconds)
        begin = min(self.first_timed, max(WARMUP_STEPS, len(steps) - MIN_TIMED_STEPS))
        if not self.kept_share:
            return Pace(mean(steps[begin:]), mean(steps[begin:]))
        first, repeat = steps[begin : self.num_distinct], steps[max(self.repeat_timed, begin) :]
        first_s = mean(first or repeat or steps)
        return Pace(first_s, self.kept_share * mean(repeat or [first_s]) + (1 - self.kept_share) * first_s)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
