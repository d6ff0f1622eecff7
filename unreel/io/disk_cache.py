"""A folder on this disk that keeps what came from afar, up to a size; what was not used for longest leaves.

Several processes may use one folder: a file appears whole (renamed into place) or not at all, and one that leaves while
another process wants it is simply fetched again. `UNREEL_CACHE` names the folder, `UNREEL_CACHE_GB` the size.
"""

import contextlib
import errno
import os
import warnings
from functools import lru_cache
from pathlib import Path

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path

DEFAULT_GB = 20.0
EVICT_TO_FRACTION, SCAN_FRACTION = (
    0.9,
    1 / 32,
)  # what is left after a clearance; how much a process writes before it looks again


class DiskCache:
    """Files by name in a folder of at most `limit_bytes`, and what each process writes between two looks: 1/32."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.unscanned_bytes, self.has_warned = limit_bytes, False

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, which now counts as used last; None when it is not here."""
        path = self._path(name)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Keep a file. Without room on the disk nothing is kept, which is said once: what came is good all the same."""
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
        """Where more than allowed is here, the files that were used longest ago go, down to nine tenths of that."""
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
        """Where others fill the disk, half of what is here goes; False when there is nothing to go."""
        total = sum(size for _, size, _ in self._list_files())
        self._evict(total // 2)
        return total > 0

    def _list_files(self) -> list[tuple[int, int, str]]:
        """When each was used last, its size, its path; asides of writers that were killed are among them."""
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _warn_once(self, error: OSError) -> None:
        if not self.has_warned:
            why = error.strerror or error
            text = f"{self.folder}: the cache can't be written ({why}); pieces are fetched anew each time"
            warnings.warn(f"{text}. Make room, or name another folder with UNREEL_CACHE", RuntimeWarning, stacklevel=4)
        self.has_warned = True


def open_piece_cache() -> DiskCache:
    """The cache that the environment names. Raises InputError for a size that is none."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return _open_cache(
        os.environ.get("UNREEL_CACHE") or os.path.join(base, "unreel"), os.environ.get("UNREEL_CACHE_GB")
    )


@lru_cache(maxsize=4)
def _open_cache(folder: str, size_gb: str | None) -> DiskCache:
    try:
        limit_bytes = int(float(DEFAULT_GB if size_gb is None else size_gb) * 1e9)
    except (ValueError, OverflowError) as error:
        raise InputError(f"UNREEL_CACHE_GB is a number of gigabytes, got {size_gb!r}") from error
    return DiskCache(Path(folder), limit_bytes)
