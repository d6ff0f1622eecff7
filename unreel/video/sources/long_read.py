"""A line for the person who waits while one file is read for long: which file, how far it is, and why.

    with tell_of_long_reads(print):
        unreel.inspect("videos")

Files are read deep inside everything, often in processes that were forked, so who is told belongs to the surroundings.
"""

import contextlib
import contextvars
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unreel.io.text import format_path, format_time_left

FIRST_LINE_S, LINE_INTERVAL_S = 5.0, 30.0
MAX_NAME = 40  # of its characters; a longer one would leave no room on a terminal of 80 columns

_tell: contextvars.ContextVar[Callable[[Sequence[str]], None] | None] = contextvars.ContextVar("tell", default=None)


@contextlib.contextmanager
def tell_of_long_reads(tell: Callable[[Sequence[str]], None]) -> Iterator[None]:
    """Inside the block `tell` gets the parts of a line, the most important first; it may run in another process."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


class LongRead:
    """How far one file is read; nothing is said of what takes less than five seconds.

    `why` is the end of the line, `total` the number of steps.
    """

    def __init__(self, path: str, why: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        name = format_path(Path(path).name)
        self.name = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2 - 3]}...{name[-MAX_NAME // 2 :]}"
        self.why, self.total, self.clock = why, total, clock
        self.start_s, self.tell = clock(), _tell.get()
        self.next_line_s = self.start_s + FIRST_LINE_S

    def advance(self, done: int) -> None:
        """Say how far it is, where a line is due; `done` steps of the total are."""
        if self.tell is None or (now_s := self.clock()) < self.next_line_s:
            return
        left_s = (now_s - self.start_s) / done * (self.total - done) if done else None
        self.tell([format_time_left(left_s), f"{100 * done // self.total} % of {self.name}", self.why])
        self.next_line_s = now_s + LINE_INTERVAL_S
