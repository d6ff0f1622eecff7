"""A call that is given up after a time limit."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def call_with_timeout(call: Callable[[], T], timeout_s: float) -> T:
    """The result of `call`, or what it raises; TimeoutError when it takes longer than `timeout_s`.

    It runs in a thread, which can't be ended: after a timeout the thread is left behind.

        >>> call_with_timeout(lambda: 1 + 1, timeout_s=60.0)
        2
    """
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = results.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
    if error is not None:
        raise error
    value: T = result
    return value
