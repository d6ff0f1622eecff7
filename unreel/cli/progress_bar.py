"""The progress of a command: how far it is, and how long the rest takes."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence

from rich.progress import Progress, TextColumn

from unreel.cli.terminal import stderr_console
from unreel.io.text import fit_parts, format_time_left
from unreel.video.sources.long_read import tell_of_long_reads

PROGRESS_LINE_INTERVAL_S = 30.0


class ProgressBar:
    """One line on a terminal of any width for `advance(completed, total)` calls; elsewhere a line every 30 seconds.

    Inside it a file that takes long has a line of its own.
    """

    def __init__(self, label: str) -> None:
        self.label, self.last_line_s = label, time.monotonic()
        self.began: tuple[float, int] | None = None  # the first call: when, and what was done by then
        self.is_live = stderr_console.is_terminal and not stderr_console.is_dumb_terminal
        text = TextColumn("{task.description}", markup=False)
        self.bar = Progress(text, console=stderr_console, transient=True, disable=not self.is_live)
        self.task_id = self.bar.add_task(label, total=None)
        self.surroundings = contextlib.ExitStack()

    def __enter__(self) -> Callable[[int, int], None]:
        self.bar.start()
        self.surroundings.enter_context(tell_of_long_reads(write_line))
        return self.advance

    def advance(self, completed: int, total: int) -> None:
        now_s = time.monotonic()
        began_s, done_before = self.began = self.began or (now_s, completed)
        item_s = (now_s - began_s) / (completed - done_before) if completed > done_before else None
        left = format_time_left(None if item_s is None else item_s * (total - completed))
        line = fit_parts([left, f"{self.label} {completed} of {total}"], stderr_console.width)
        self.bar.update(self.task_id, completed=completed, total=total, description=line)
        if not self.is_live and now_s - self.last_line_s > PROGRESS_LINE_INTERVAL_S:
            stderr_console.print(f"{self.label}: {completed} of {total}, {left}", markup=False)
            self.last_line_s = now_s
        if completed >= total:
            self.bar.stop()

    def close(self) -> None:
        self.bar.stop()

    def __exit__(self, *_: object) -> None:
        self.surroundings.close()
        self.close()


def write_line(parts: Sequence[str]) -> None:
    """A line above the bar, from any process: the console's locks may be held where it was forked."""
    if stderr_console.is_terminal:
        line = "\r\033[K" + fit_parts(parts, stderr_console.width)
    else:
        line = "  ".join(parts)
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))
