"""The terminal output of a run: time left, steps, loss and rate on one line, or a log line every few steps."""

import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

from unreel.io.text import fit_parts, format_time_left
from unreel.training.monitors import MonitorMetrics

Item = TypeVar("Item")
MIN_PACE_STEPS, MAX_PACE_STEPS = 10, 1000  # the last steps, and the pauses between them, that tell the time left
BAR_WIDTH, MIN_BAR_TERMINAL = 24, 80  # characters; on a narrower terminal the bar makes room for the time left


class TrainingProgress:
    """One line on a terminal, plain lines elsewhere, nothing when quiet; also measures the waiting for data."""

    def __init__(self, total_steps: int, steps_done: int, quiet: bool) -> None:
        self.total_steps = total_steps
        self.planned_step_s: float | None = None
        self.report_s = 0.0
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
        if self.console.width >= MIN_BAR_TERMINAL:
            columns.insert(0, BarColumn(BAR_WIDTH))
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task_id = self.bar.add_task("", total=total_steps, completed=steps_done)
        self.status: list[str] = []
        self.step_ends_s: deque[float] = deque(maxlen=MAX_PACE_STEPS + 1)
        self._reset_interval()

    def set_length(self, total_steps: int, planned_step_s: float) -> None:
        """The number of steps of a run that has just found it, and the expected seconds of each."""
        self.total_steps, self.planned_step_s = total_steps, planned_step_s

    def __enter__(self) -> "TrainingProgress":
        if self.is_live:
            self.bar.start()
        self._reset_interval()
        self.step_ends_s.append(time.perf_counter())
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _reset_interval(self) -> None:
        self.sums: dict[str, float] = {}
        self.num_steps = self.num_clips = 0
        self.interval_start_s, self.data_wait_s = time.perf_counter(), 0.0

    def iterate_timed(self, items: Iterable[Item], first_step: int) -> Iterator[tuple[int, Item]]:
        """Number the items from `first_step`, and count the time spent waiting for them."""
        iterator, step = iter(items), first_step
        while True:
            began_s = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self.data_wait_s += time.perf_counter() - began_s
            yield step, item
            step += 1
            self._update_line(step)

    def estimate_left_s(self, steps_done: int) -> float | None:
        """Seconds to the end of the command: pace of the last steps and what came between them, and the report.

        None before there are a few steps.
        """
        num_steps, step_s = len(self.step_ends_s) - 1, self.planned_step_s
        if num_steps >= MIN_PACE_STEPS:
            step_s = (self.step_ends_s[-1] - self.step_ends_s[0]) / num_steps
        return None if step_s is None else step_s * (self.total_steps - steps_done) + self.report_s

    def _update_line(self, steps_done: int) -> None:
        """Count a step, and write the terminal's line again, as much of it as fits."""
        self.step_ends_s.append(time.perf_counter())
        left = format_time_left(self.estimate_left_s(steps_done))
        width = self.console.width - (BAR_WIDTH + 1 if self.console.width >= MIN_BAR_TERMINAL else 0)
        line = fit_parts([left, f"step {steps_done}/{self.total_steps}", *self.status], width)
        self.bar.update(self.task_id, completed=steps_done, total=self.total_steps, description=line)

    def accumulate_step(
        self, values: dict[str, float], num_clips: int, steps_done: int, interval_steps: int
    ) -> dict[str, float] | None:
        """Add up a step; every `interval_steps` and at the end returns means, clips/s and waiting share, else None."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.num_steps, self.num_clips = self.num_steps + 1, self.num_clips + num_clips
        if steps_done % interval_steps and steps_done != self.total_steps:
            return None
        elapsed_s = time.perf_counter() - self.interval_start_s
        means = {name: total / self.num_steps for name, total in self.sums.items()}
        means |= {"clips_per_s": self.num_clips / elapsed_s, "data_wait": self.data_wait_s / elapsed_s}
        self._reset_interval()
        return means

    def print_message(self, text: str) -> None:
        """Print one plain sentence."""
        self.console.print(text, markup=False)

    def print_step(self, steps_done: int, row: dict[str, Any]) -> None:
        """Print one log line; on a terminal, its figures go into the line that is there."""
        epoch, waiting = f"epoch {row['epoch']:.1f}", f"waiting for data {row['data_wait']:.0%}"
        self.status = [f"loss {row['loss']:.3f}", f"{row['clips_per_s']:.0f} clips/s", epoch, waiting]
        if not self.is_live:
            left = format_time_left(self.estimate_left_s(steps_done))
            self.console.print("  ".join([f"step {steps_done}/{self.total_steps}", *self.status, left]), markup=False)

    def print_monitors(self, steps_done: int, monitors: MonitorMetrics) -> None:
        """Print one line with the label-free figures, and a warning when the embeddings have collapsed."""
        tests = {"moment": monitors.moment, "order": monitors.order, "far clip": monitors.far_clip}
        figures = "  ".join(f"{name} {value:.1f}" for name, value in tests.items() if not math.isnan(value))
        figures = f"tests without labels, 50 % by guessing: {figures}  " if figures else ""
        self.console.print(f"step {steps_done}  {figures}effective rank {monitors.effective_rank:.1f}")
        if monitors.has_collapsed:
            self.console.print("[bold red]collapsed[/]: the embeddings hardly differ between videos; see the report")
