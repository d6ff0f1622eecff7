"""What an exploration says about its stages: what each one does, how long it takes, and where its result lies."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from unreel.indexing.store.processes import ProgressBarFactory, no_progress_bar
from unreel.io.text import format_duration
from unreel.types import ProgressCallback

NUM_STAGES = 4
ESTIMATE_AFTER_S = 5.0  # seconds of a stage before its length is estimated
SHORTEST_ESTIMATE_S = 15.0  # a shorter rest is not worth a line


@dataclass
class Narration:
    """Where the sentences go, and the progress bars; `quiet` also keeps the training from printing."""

    say: Callable[[str], None] = print
    progress_bar: ProgressBarFactory = no_progress_bar
    quiet: bool = False
    clock: Callable[[], float] = time.monotonic
    stage_start_s: float = field(default=0.0, init=False)
    stage: str = field(default="", init=False)

    def begin(self, number: int, name: str, text: str) -> None:
        """The first line of a stage."""
        self.stage, self.stage_start_s = name, self.clock()
        self.tell(f"\n{number} of {NUM_STAGES}  {name}: {text}")

    def tell(self, text: str) -> None:
        if not self.quiet:
            self.say(text)

    def detail(self, text: str) -> None:
        """A further line of a stage."""
        self.tell(f"        {text}")

    def format_elapsed(self) -> str:
        """The time since the stage began, e.g. " (12 s)"; "" where it is not worth telling."""
        elapsed_s = self.clock() - self.stage_start_s
        return f" ({format_duration(elapsed_s)})" if elapsed_s >= 1 else ""

    @contextlib.contextmanager
    def measure(self, label: str) -> Iterator[ProgressCallback]:
        """A progress bar that also says once, after some seconds, how long the rest will take."""
        start_s, is_told = self.clock(), False

        def advance(done: int, total: int) -> None:
            nonlocal is_told
            show(done, total)
            elapsed_s = self.clock() - start_s
            if is_told or not done or elapsed_s < ESTIMATE_AFTER_S:
                return
            is_told = True
            left_s = elapsed_s / done * (total - done)
            if left_s >= SHORTEST_ESTIMATE_S:
                self.detail(f"{label}: {done:,} of {total:,} done, about {format_duration(left_s)} left")

        with self.progress_bar(label) as show:
            yield advance
