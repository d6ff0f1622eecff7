"""Locks of the operating system: a process that ends, however it ends, leaves none behind.

There are two kinds. A lock of one process (`lockf`) is not passed on to processes that it forks, so it is free as soon
as that process has ended. An inherited lock (`flock`) is held by forked processes too, and is free when the last has
ended: for folders in which those of a killed process may still write.
"""

import contextlib
import errno
import fcntl
import os
import platform
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from unreel.errors import DiskError, RunError

LOCK_FILE = "lock"
POLL_S = 0.1
STRUCT_FLOCK = "hhqqi"  # of Linux: type, whence, start, length, process


def try_lock(file: IO[str] | int, inherited: bool, timeout_s: float = 0.0) -> bool:
    """Lock an open file, or a folder by its number; False while another process holds the lock until the timeout.

    Raises OSError where the file system has no locks. The lock ends when the file is closed.
    """
    lock = fcntl.flock if inherited else fcntl.lockf
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(POLL_S)


@contextlib.contextmanager
def lock_folder(folder: Path, activity: str = "trains") -> Iterator[None]:
    """Let one process alone write into a run or a store. Raises RunError while another does, which `activity` names.

    The lock is of one process: its loader processes do not hold it.
    """
    try:
        file = (folder / LOCK_FILE).open("a+")
    except OSError as error:
        raise DiskError(f"{folder / LOCK_FILE}: can't be written ({error.strerror})") from error
    with file:
        try:
            if not try_lock(file, inherited=False):
                file.seek(0)
                holder = file.read().strip()
                raise RunError(f"{folder}: another unreel {activity} in it ({holder}); wait for it or stop it")
        except OSError as error:
            problem = f"{folder}: this file system has no locks ({error.strerror})"
            warnings.warn(f"{problem}, so a second run in it would not be refused", RuntimeWarning, stacklevel=3)
        try:
            file.truncate(0)  # written at once: a buffer would be tried again, and fail, where the file is closed
            os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}\n".encode())
        except OSError as error:
            problem = f"{folder / LOCK_FILE}: can't be written ({error.strerror})"
            raise DiskError(f"{problem}; free some space, then run it again") from error
        yield


@contextlib.contextmanager
def wait_for_lock(path: Path, timeout_s: float = 60.0) -> Iterator[None]:
    """Hold the lock of a file, which is made if needed, after whoever holds it; between threads and processes.

    For a change that takes a moment: read, change, write. Raises DiskError when the folder is missing or can't be
    written, RunError after `timeout_s`.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        raise DiskError(f"{path}: can't be written ({error.strerror})") from error
    with file:
        try:
            is_free = try_lock(file, inherited=True, timeout_s=timeout_s)
        except OSError:  # a file system without locks
            is_free = True
        if not is_free:
            raise RunError(f"{path}: another unreel has held this lock for {timeout_s:g} s; end it and try again")
        yield


def is_locked(folder: Path) -> bool:
    """Whether another process holds the lock of `lock_folder`, without taking it. Linux only, False elsewhere."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            query = struct.pack(STRUCT_FLOCK, fcntl.F_RDLCK, 0, 0, 0, 0)
            result = fcntl.fcntl(file, fcntl.F_GETLK, query)
    except OSError:
        return False
    return bool(struct.unpack(STRUCT_FLOCK, result)[0] != fcntl.F_UNLCK)
