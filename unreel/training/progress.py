"""What a person sees while a run goes on: a bar with rate and time left, and a log line every few steps."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from unreel.training.monitors import Monitors

Item = TypeVar("Item")


class Progress:
    """A bar on a terminal, plain lines elsewhere, nothing when quiet; and the clock that tells waiting from work."""

    def __init__(self, total_steps: int, done_steps: int, quiet: bool) -> None:
        self.total_steps = total_steps
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        columns = (TextColumn("pre-training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
        self.bar = Bar(
            *columns,
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("steps", total=total_steps, completed=done_steps, said="")
        self.waited_s = 0.0
        self._reset()

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.bar.start()
        self._reset()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _reset(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = self.clips = 0
        self.since_s, self.waited_s = time.perf_counter(), 0.0

    def waiting(self, items: Iterable[Item], first_step: int) -> Iterator[tuple[int, Item]]:
        """Number the items from `first_step`, and count the time spent waiting for them."""
        iterator, step = iter(items), first_step
        while True:
            began_s = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self.waited_s += time.perf_counter() - began_s
            yield step, item
            step += 1
            self.bar.update(self.task, completed=step)

    def gather(self, values: dict[str, float], num_clips: int, done: int, every: int) -> dict[str, float] | None:
        """Add up a step; at every `every` steps and at the end, the means with rate and waiting share, else None."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps, self.clips = self.steps + 1, self.clips + num_clips
        if done % every and done != self.total_steps:
            return None
        elapsed_s = time.perf_counter() - self.since_s
        means = {name: total / self.steps for name, total in self.sums.items()}
        means |= {"clips_per_s": self.clips / elapsed_s, "data_wait": self.waited_s / elapsed_s}
        self._reset()
        return means

    def say(self, text: str) -> None:
        """One plain sentence."""
        self.console.print(text, markup=False)

    def line(self, done: int, row: dict[str, Any]) -> None:
        """One log line."""
        said = f"loss {row['loss']:.3f}  {row['clips_per_s']:.0f} clips/s  waiting for data {row['data_wait']:.0%}"
        self.bar.update(self.task, said=said)
        if not self.console.is_terminal:
            self.console.print(f"step {done}/{self.total_steps}  epoch {row['epoch']:.1f}  {said}")

    def monitors(self, done: int, found: Monitors) -> None:
        """One line for the label-free figures, and the alarm."""
        self.console.print(
            f"step {done}  same-video R@1 {found.same_video_r1:.1f} %  MRR {found.same_video_mrr:.3f}  "
            f"alignment {found.alignment:.3f}  uniformity {found.uniformity:.2f}  rank {found.effective_rank:.1f}"
        )
        if found.collapsed:
            self.console.print("[bold red]collapsed[/]: the embeddings hardly differ between videos; see the report")
