"""Bytes from afar through fsspec: tried again with growing pauses, and never waited for without end."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from unreel.errors import InputError

RANGE_TIMEOUT_S, FILE_TIMEOUT_S = 30.0, 300.0  # for one answer: a part of a file, a whole one
RETRY_DELAYS_S = (0.5, 2.0, 8.0)  # before each further try
PERMANENT_ERRORS = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)  # no answer that time would change
T = TypeVar("T")


def read_bytes(url: str, start_byte: int | None = None, end_byte: int | None = None) -> bytes:
    """Bytes [start, end) of a file, or all. Fewer where the file ends before.

    Raises FileNotFoundError, and OSError with a sentence when there is no good answer in `1 + len(PAUSES_S)` tries;
    InputError for a kind of address that can't be read here.
    """

    def ask() -> bytes:
        files, path = open_filesystem(url)
        data = bytes(files.cat_file(path, start=start_byte, end=end_byte))
        if start_byte is None or end_byte is None:
            if len(data) < (size := _get_size_bytes(files, path)):
                raise OSError(f"{len(data)} of {size} bytes came")
        elif len(data) > end_byte - start_byte:
            raise OSError(
                f"{len(data)} bytes came where {end_byte - start_byte} were asked for: it gives no parts of files"
            )
        elif len(data) < end_byte - start_byte and _get_size_bytes(files, path) >= end_byte:
            raise OSError(f"{len(data)} of {end_byte - start_byte} bytes came")
        return data

    return call_with_retries(ask, url, FILE_TIMEOUT_S if end_byte is None else RANGE_TIMEOUT_S)


def _get_size_bytes(files: Any, path: str) -> int:
    """0 where the place does not tell sizes."""
    return int(files.info(path).get("size") or 0)


def open_filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Asked for anew in each process: fsspec knows about forks."""
    import fsspec

    try:
        return fsspec.url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{url}: {error}. `pip install 'unreel[remote]'` brings s3://, gs:// and https://") from error
    except ValueError as error:
        raise InputError(f"{url}: {error}") from error


def call_with_retries(call: Callable[[], T], name: str, timeout_s: float) -> T:
    """What `ask` returns, asked again after each pause where it fails or does not answer within the limit."""
    trouble = ""
    for pause_s in (*RETRY_DELAYS_S, None):
        try:
            return call_with_timeout(call, timeout_s)
        except (*PERMANENT_ERRORS, InputError):
            raise
        except Exception as error:  # every file system has errors of its own
            trouble = str(error) or type(error).__name__
        if pause_s is not None:
            time.sleep(pause_s)
    raise OSError(f"{name}: no good answer in {len(RETRY_DELAYS_S) + 1} tries, the last: {trouble}")


def call_with_timeout(call: Callable[[], T], timeout_s: float) -> T:
    """What `ask` returns or raises, or TimeoutError. The thread of a call that never answers is left behind."""
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((True, call()))
        except BaseException as error:
            answers.put((False, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        good, answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
    if not good:
        raise answer
    result: T = answer
    return result
