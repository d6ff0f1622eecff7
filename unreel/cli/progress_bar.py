"""The progress bar of a command."""

import time
from collections.abc import Callable

from rich.progress import Progress

from unreel.cli.terminal import stderr_console

PROGRESS_LINE_INTERVAL_S = 30.0


class ProgressBar:
    """A bar on a terminal for `advance(completed, total)` calls; elsewhere a line every 30 seconds."""

    def __init__(self, label: str) -> None:
        self.label, self.last_line_s = label, time.monotonic()
        self.bar = Progress(console=stderr_console, transient=True, disable=not stderr_console.is_terminal)
        self.task_id = self.bar.add_task(label, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self.bar.start()
        return self.advance

    def advance(self, completed: int, total: int) -> None:
        self.bar.update(self.task_id, completed=completed, total=total)
        if not stderr_console.is_terminal and time.monotonic() - self.last_line_s > PROGRESS_LINE_INTERVAL_S:
            stderr_console.print(f"{self.label}: {completed} of {total}")
            self.last_line_s = time.monotonic()
        if completed >= total:
            self.bar.stop()

    def close(self) -> None:
        self.bar.stop()

    def __exit__(self, *_: object) -> None:
        self.close()
