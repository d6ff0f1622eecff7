"""Bytes from afar through fsspec: tried again with growing pauses, and never waited for without end."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from unreel.errors import InputError

TIMEOUT_S, WHOLE_S = 30.0, 300.0  # for one answer: a part of a file, a whole one
PAUSES_S = (0.5, 2.0, 8.0)  # before each further try
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)  # no answer that time would change
T = TypeVar("T")


def read(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """Bytes [start, end) of a file, or all. Fewer where the file ends before.

    Raises FileNotFoundError, and OSError with a sentence when there is no good answer in `1 + len(PAUSES_S)` tries;
    InputError for a kind of address that can't be read here.
    """

    def ask() -> bytes:
        files, path = opened(url)
        data = bytes(files.cat_file(path, start=start, end=end))
        if start is None or end is None:
            if len(data) < (size := _size(files, path)):
                raise OSError(f"{len(data)} of {size} bytes came")
        elif len(data) > end - start:
            raise OSError(f"{len(data)} bytes came where {end - start} were asked for: it gives no parts of files")
        elif len(data) < end - start and _size(files, path) >= end:
            raise OSError(f"{len(data)} of {end - start} bytes came")
        return data

    return answered(ask, url, WHOLE_S if end is None else TIMEOUT_S)


def _size(files: Any, path: str) -> int:
    """0 where the place does not tell sizes."""
    return int(files.info(path).get("size") or 0)


def opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Asked for anew in each process: fsspec knows about forks."""
    import fsspec

    try:
        return fsspec.url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{url}: {error}. `pip install 'unreel[remote]'` brings s3://, gs:// and https://") from error
    except ValueError as error:
        raise InputError(f"{url}: {error}") from error


def answered(ask: Callable[[], T], what: str, limit_s: float) -> T:
    """What `ask` returns, asked again after each pause where it fails or does not answer within the limit."""
    trouble = ""
    for pause_s in (*PAUSES_S, None):
        try:
            return within(ask, limit_s)
        except (*FINAL, InputError):
            raise
        except Exception as error:  # every file system has errors of its own
            trouble = str(error) or type(error).__name__
        if pause_s is not None:
            time.sleep(pause_s)
    raise OSError(f"{what}: no good answer in {len(PAUSES_S) + 1} tries, the last: {trouble}")


def within(ask: Callable[[], T], seconds: float) -> T:
    """What `ask` returns or raises, or TimeoutError. The thread of a call that never answers is left behind."""
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((True, ask()))
        except BaseException as error:
            answers.put((False, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        good, answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if not good:
        raise answer
    result: T = answer
    return result
