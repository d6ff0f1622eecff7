"""Work on files that is done again when a network file system stalls: a server that restarts is no full disk.

The work must be such that it can be done twice.
"""

import errno
import re
import time
from collections.abc import Callable
from typing import TypeVar

RETRY_DELAYS_S = (1.0, 5.0, 25.0)
SERVER_STALL_ERRNOS = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ECONNRESET, errno.EHOSTDOWN})
STALL_ERRNOS = SERVER_STALL_ERRNOS | {errno.EIO}  # which decoders also say of damaged files
T = TypeVar("T")


def retry_on_stall(work: Callable[[], T], stall_errnos: frozenset[int] = STALL_ERRNOS) -> T:
    """What `work` returns, tried again after each of WAITS_S when it failed as a file system does that stalls."""
    for wait_s in RETRY_DELAYS_S:
        try:
            return work()
        except Exception as error:
            if not is_stall(error, stall_errnos):
                raise
            time.sleep(wait_s)
    return work()


def is_stall(error: BaseException, stall_errnos: frozenset[int] = STALL_ERRNOS) -> bool:
    """Whether waiting may help; safetensors says the number of an error in its text alone."""
    number = error.errno if isinstance(error, OSError) else None
    said = re.search(r"os error (\d+)", str(error))
    return (int(said[1]) if number is None and said else number) in stall_errnos
