"""Work that is tried again after a pause: on a file system that stalls, or on a remote one. It must be repeatable."""

import errno
import re
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

STALL_DELAYS_S = (1.0, 5.0, 25.0)
SERVER_STALL_ERRNOS = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ECONNRESET, errno.EHOSTDOWN})
STALL_ERRNOS = SERVER_STALL_ERRNOS | {errno.EIO}  # decoders also raise EIO for damaged files
T = TypeVar("T")


def retry(work: Callable[[], T], delays_s: Iterable[float], should_retry: Callable[[Exception], bool]) -> T:
    """The result of `work`, called again after each delay while it raises an error that `should_retry` accepts.

    Raises the error of the last call, or the first one that is not accepted.

        >>> answers = iter(["", "hello"])
        >>> def ask() -> str:
        ...     if not (answer := next(answers)):
        ...         raise ConnectionError
        ...     return answer
        >>> retry(ask, delays_s=(0.01, 0.1), should_retry=lambda error: isinstance(error, OSError))
        'hello'
    """
    for delay_s in delays_s:
        try:
            return work()
        except Exception as error:
            if not should_retry(error):
                raise
        time.sleep(delay_s)
    return work()


def retry_on_stall(work: Callable[[], T], stall_errnos: frozenset[int] = STALL_ERRNOS) -> T:
    """`retry` for a network file system whose server stalls or restarts; a full disk is raised at once."""
    return retry(work, STALL_DELAYS_S, lambda error: is_stall(error, stall_errnos))


def is_stall(error: BaseException, stall_errnos: frozenset[int] = STALL_ERRNOS) -> bool:
    """Whether waiting may help. The errors of safetensors hold the number of the error in their text only."""
    number = error.errno if isinstance(error, OSError) else None
    match = re.search(r"os error (\d+)", str(error))
    return (int(match[1]) if number is None and match else number) in stall_errnos
