"""Ctrl-C and SIGTERM: a run ends after a whole step and says how to resume."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from unreel.training.run_folder.config import CONFIG_FILE


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[list[int]]:
    """Turn Ctrl-C and SIGTERM into an entry of the list, so that a run ends after a whole step."""
    caught: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, as in a notebook server: leave signals alone
        before = {}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def end_like_ctrl_c() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does; outside the main thread, signals are left alone."""
    with contextlib.ExitStack() as handlers:
        with contextlib.suppress(ValueError):
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)
            handlers.callback(signal.signal, signal.SIGTERM, before)
        yield


@contextlib.contextmanager
def explain_interruption(run_folder: Path) -> Iterator[None]:
    """SIGTERM ends like Ctrl-C, and both say how to go on. The training loop handles them itself."""
    with end_like_ctrl_c():
        try:
            yield
        except KeyboardInterrupt as stop:
            has_run = (run_folder / CONFIG_FILE).exists()
            hint = f"go on with: unreel pretrain --resume {run_folder}" if has_run else "run the same command again"
            raise KeyboardInterrupt(f"stopped; what is saved is whole, {hint}") from stop
