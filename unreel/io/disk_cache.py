"""A cache folder of limited size on the local disk; the file that was not used for longest is deleted first (LRU).

Several processes may use one folder: a file appears whole or not at all, and one that is deleted while another process
wants it is fetched again. `UNREEL_CACHE` names the folder, `UNREEL_CACHE_GB` the size.
"""

import contextlib
import errno
import os
import time
import warnings
from functools import lru_cache
from pathlib import Path

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path

DEFAULT_GB = 20.0
EVICT_TO_FRACTION = 0.9  # of the limit, that is left after an eviction
SCAN_FRACTION = 1 / 32  # of the limit, that a process writes before it lists the folder again
MAX_WRITE_S = 600  # a temporary file older than this belongs to a process that was killed


class DiskCache:
    """Files by name in a folder of at most `limit_bytes`, plus 1/32 for each process that writes at the same time."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.unscanned_bytes, self.has_warned = limit_bytes, False

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, which becomes the most recently used one; None when it is not in the cache."""
        path = self._path(name)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Keep a file. When the disk is full it is not kept, with one warning: the caller has its bytes anyway."""
        if len(data) > self.limit_bytes:
            return
        try:
            self._make_room(len(data))
            self._write(self._path(name), data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._evict_half():
                return self._warn_once(error)
            try:
                self._write(self._path(name), data)
            except OSError:
                self._warn_once(error)

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, sync=False) as temporary:
            temporary.write_bytes(data)

    def _make_room(self, size_bytes: int) -> None:
        self.unscanned_bytes += size_bytes
        if self.unscanned_bytes > self.limit_bytes * SCAN_FRACTION:
            self._evict(self.limit_bytes - size_bytes)
            self.unscanned_bytes = size_bytes

    def _evict(self, allowed_bytes: int) -> None:
        """Delete the least recently used files when they take more than `allowed_bytes`, down to nine tenths of it."""
        files = sorted(self._list_files())
        total = sum(size for _, size, _ in files)
        if total <= allowed_bytes:
            return
        for _, size, path in files:
            if total <= allowed_bytes * EVICT_TO_FRACTION:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size

    def _evict_half(self) -> bool:
        """Delete half of the cache when other programs fill the disk; False when the cache is empty."""
        total = sum(size for _, size, _ in self._list_files())
        self._evict(total // 2)
        return total > 0

    def _list_files(self) -> list[tuple[int, int, str]]:
        """Time of last use, size and path of every file, without temporary ones that may still be written."""
        files = []
        recent_ns = time.time_ns() - MAX_WRITE_S * 10**9
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    if not name.startswith(".") or status.st_mtime_ns < recent_ns:
                        files.append((status.st_mtime_ns, status.st_size, path))
        return files

    def _warn_once(self, error: OSError) -> None:
        if not self.has_warned:
            reason = error.strerror or error
            text = f"{self.folder}: the cache can't be written ({reason}); what it held is made or fetched anew"
            warnings.warn(f"{text}. Make room, or name another folder with UNREEL_CACHE", RuntimeWarning, stacklevel=4)
        self.has_warned = True


def get_cache_folder() -> Path:
    """UNREEL_CACHE, else the folder `unreel` where this person's caches lie; everything that unreel caches is in it."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("UNREEL_CACHE") or os.path.join(base, "unreel"))


def open_disk_cache() -> DiskCache:
    """The cache that the environment variables describe. Raises InputError when UNREEL_CACHE_GB is not a number."""
    return _open_cache(str(get_cache_folder()), os.environ.get("UNREEL_CACHE_GB"))


@lru_cache(maxsize=4)
def _open_cache(folder: str, size_gb: str | None) -> DiskCache:
    try:
        limit_bytes = int(float(DEFAULT_GB if size_gb is None else size_gb) * 1e9)
    except (ValueError, OverflowError) as error:
        raise InputError(f"UNREEL_CACHE_GB is a number of gigabytes, got {size_gb!r}") from error
    return DiskCache(Path(folder), limit_bytes)
