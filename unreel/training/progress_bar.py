"""The terminal output of a run: a bar with rate and time left, and a log line every few steps."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from unreel.training.monitors import MonitorMetrics

Item = TypeVar("Item")


class TrainingProgress:
    """A bar on a terminal, plain lines elsewhere, nothing when quiet; also measures the time spent waiting for data."""

    def __init__(self, total_steps: int, steps_done: int, quiet: bool) -> None:
        self.total_steps = total_steps
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        columns = (TextColumn("pre-training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"))
        self.bar = Bar(
            *columns,
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task_id = self.bar.add_task("steps", total=total_steps, completed=steps_done, status="")
        self.data_wait_s = 0.0
        self._reset_interval()

    def __enter__(self) -> "TrainingProgress":
        if self.console.is_terminal:
            self.bar.start()
        self._reset_interval()
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
            self.bar.update(self.task_id, completed=step)

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
        """Print one log line."""
        status = f"loss {row['loss']:.3f}  {row['clips_per_s']:.0f} clips/s  waiting for data {row['data_wait']:.0%}"
        self.bar.update(self.task_id, status=status)
        if not self.console.is_terminal:
            self.console.print(f"step {steps_done}/{self.total_steps}  epoch {row['epoch']:.1f}  {status}")

    def print_monitors(self, steps_done: int, monitors: MonitorMetrics) -> None:
        """Print one line with the label-free figures, and a warning when the embeddings have collapsed."""
        self.console.print(
            f"step {steps_done}  same-video R@1 {monitors.same_video_r1:.1f} %  MRR {monitors.same_video_mrr:.3f}  "
            f"alignment {monitors.alignment:.3f}  uniformity {monitors.uniformity:.2f}  "
            f"rank {monitors.effective_rank:.1f}"
        )
        if monitors.has_collapsed:
            self.console.print("[bold red]collapsed[/]: the embeddings hardly differ between videos; see the report")
