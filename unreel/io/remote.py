"""Read remote files through fsspec, with retries after growing delays and a time limit for each try."""

from collections.abc import Callable
from typing import Any, TypeVar

from unreel.errors import InputError
from unreel.io.retry import retry
from unreel.io.timeout import call_with_timeout

RANGE_TIMEOUT_S, FILE_TIMEOUT_S = 30.0, 300.0  # of one try: for a part of a file, for a whole file
RETRY_DELAYS_S = (0.5, 2.0, 8.0)  # before each further try
PERMANENT_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
T = TypeVar("T")


def read_bytes(url: str, start_byte: int | None = None, end_byte: int | None = None) -> bytes:
    """Bytes [start, end) of a file, or all of it; fewer where the file ends before.

    Raises FileNotFoundError, OSError when there is no good answer in `1 + len(RETRY_DELAYS_S)` tries, and InputError
    for a kind of URL that can't be read here.
    """

    def read() -> bytes:
        files, path = open_filesystem(url)
        data = bytes(files.cat_file(path, start=start_byte, end=end_byte))
        if start_byte is None or end_byte is None:
            if len(data) < (size := _get_size_bytes(files, path)):
                raise OSError(f"{len(data)} of {size} bytes came")
        elif len(data) > end_byte - start_byte:
            sizes = f"{len(data)} bytes came instead of {end_byte - start_byte}"
            raise OSError(f"the server does not support range requests ({sizes})")
        elif len(data) < end_byte - start_byte and _get_size_bytes(files, path) >= end_byte:
            raise OSError(f"{len(data)} of {end_byte - start_byte} bytes came")
        return data

    return call_with_retries(read, url, FILE_TIMEOUT_S if end_byte is None else RANGE_TIMEOUT_S)


def _get_size_bytes(files: Any, path: str) -> int:
    """0 where the file system does not know sizes."""
    return int(files.info(path).get("size") or 0)


def open_filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Open it again in each process: fsspec knows about forks."""
    import fsspec

    try:
        return fsspec.url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{url}: {error}. `pip install 'unreel[remote]'` brings s3://, gs:// and https://") from error
    except ValueError as error:
        raise InputError(f"{url}: {error}") from error


def call_with_retries(call: Callable[[], T], name: str, timeout_s: float) -> T:
    """The result of `call`, tried again after each delay where it fails or takes longer than `timeout_s`.

    Raises PERMANENT_ERRORS and InputError at once, else OSError after the last try.
    """
    permanent = (*PERMANENT_ERRORS, InputError)
    try:
        return retry(
            lambda: call_with_timeout(call, timeout_s), RETRY_DELAYS_S, lambda error: not isinstance(error, permanent)
        )
    except permanent:
        raise
    except Exception as error:  # every file system has its own errors
        reason = str(error) or type(error).__name__
        raise OSError(f"{name}: no good answer in {len(RETRY_DELAYS_S) + 1} tries, the last: {reason}") from error
