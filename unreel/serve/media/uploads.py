"""Query files that a browser sends, stored in a folder of this server, with limits of size, time and number."""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from unreel.errors import InputError
from unreel.indexing.search.query_encoder import IMAGE_SUFFIXES
from unreel.io.file_lock import try_lock
from unreel.serve.auth import CONTENT_LENGTH

MAX_UPLOADS, MAX_CONCURRENT_UPLOADS = 20, 8
FOLDER_PREFIX, STALE_AFTER_S = "unreel-queries-", 10.0
UPLOAD_SUFFIXES = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts"}
UPLOAD_SUFFIXES |= {".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
UPLOAD_SUFFIXES |= {".gif", *IMAGE_SUFFIXES}


class UploadTooLargeError(InputError):
    pass


class UploadTimeoutError(InputError):
    pass


class TooManyUploadsError(InputError):
    pass


@dataclass(frozen=True)
class UploadLimits:
    """Largest size of a query file, and longest time for sending it."""

    max_bytes: int = 200 * 2**20
    timeout_s: float = 120.0


class UploadStore:
    """Query files by names that cannot be guessed. The oldest is deleted when there are more than MAX_UPLOADS."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits, self.lock = limits, threading.Lock()
        self._folder: Path | None = None
        self._lock_fd, self.num_active = -1, 0
        self.files: OrderedDict[str, Path] = OrderedDict()

    @property
    def folder(self) -> Path:
        """Made for the first query and locked while this server runs. Folders of ended servers are deleted."""
        with self.lock:
            if self._folder is None or not self._folder.is_dir():  # the system clears its temporary folder
                if self._lock_fd >= 0:
                    os.close(self._lock_fd)
                delete_stale_folders()
                self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
                self._lock_fd = os.open(self._folder, os.O_RDONLY)
                try_lock(self._lock_fd, inherited=True)
            return self._folder

    async def save(self, filename: str, content_length: str | None, chunks: AsyncIterator[bytes]) -> tuple[str, Path]:
        """Write a file as it arrives; returns its new name and its path. Raises InputError, also for an empty file."""
        if content_length and CONTENT_LENGTH.fullmatch(content_length):
            self._require_allowed_size(int(content_length))
        if self.num_active >= MAX_CONCURRENT_UPLOADS:
            raise TooManyUploadsError(f"{MAX_CONCURRENT_UPLOADS} queries are being sent at once; try again in a moment")
        name = secrets.token_urlsafe(12)
        suffix = Path(filename).suffix.lower()
        path = self.folder / f"{name}{suffix if suffix in UPLOAD_SUFFIXES else ''}"
        self.num_active += 1
        try:
            with path.open("xb") as file:
                await self._write_chunks(file.write, chunks)
            if not path.stat().st_size:
                raise InputError("an empty file is not a query; choose a video or a picture")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            self.num_active -= 1
        with self.lock:
            self.files[name] = path
            while len(self.files) > MAX_UPLOADS:
                self.files.popitem(last=False)[1].unlink(missing_ok=True)
        return name, path

    async def _write_chunks(self, write: Callable[[bytes], int], chunks: AsyncIterator[bytes]) -> None:
        size = 0
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                async for block in chunks:
                    size += len(block)
                    self._require_allowed_size(size)
                    write(block)
        except TimeoutError:
            reason = f"sending it took more than {self.limits.timeout_s:g} s; send a shorter piece of it"
            raise UploadTimeoutError(reason) from None

    def _require_allowed_size(self, size: int) -> None:
        if size > self.limits.max_bytes:
            limit_mb = self.limits.max_bytes / 2**20
            raise UploadTooLargeError(f"a query may have {limit_mb:g} MB at most; send a shorter piece of it")

    def get_path(self, name: str) -> Path:
        """The path of a query. Raises InputError for one that was deleted."""
        with self.lock:
            if name not in self.files:
                raise InputError("that query has been deleted; choose its file again")
            self.files.move_to_end(name)
            return self.files[name]

    def delete(self, name: str) -> None:
        with self.lock, contextlib.suppress(KeyError):
            self.files.pop(name).unlink(missing_ok=True)

    def close(self) -> None:
        with self.lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                os.close(self._lock_fd)
                self._folder = None


def delete_stale_folders() -> None:
    """Delete the folders of killed servers: those that no process has locked."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(held)
                is_stale = status.st_uid == os.getuid() and time.time() - status.st_mtime > STALE_AFTER_S
                if is_stale and try_lock(held, inherited=True):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
