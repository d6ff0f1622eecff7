"""Queries that a browser sends: kept in a folder of this server's own, up to a size each and together."""

import asyncio
import contextlib
import fcntl
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
from unreel.serve.guard import LENGTH

KEPT, UNDER_WAY = 20, 8
PREFIX, SWEPT_AFTER_S = "unreel-queries-", 10.0
ENDINGS = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
ENDINGS |= {".gif", ".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class TooLarge(InputError):
    pass


class TooSlow(InputError):
    pass


class TooMany(InputError):
    pass


@dataclass(frozen=True)
class Limits:
    """What one query may weigh, and how long its sending may take."""

    size_bytes: int = 200 * 2**20
    time_s: float = 120.0


class Uploads:
    """Files by a name that cannot be guessed; the oldest leave when there are more than `KEPT`."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.lock = limits, threading.Lock()
        self.own: Path | None = None
        self.held, self.under_way = -1, 0
        self.files: OrderedDict[str, Path] = OrderedDict()

    @property
    def folder(self) -> Path:
        """Made with the first query, and locked while this server lives; those of dead ones go."""
        with self.lock:
            if self.own is None:
                sweep()
                self.own = Path(tempfile.mkdtemp(prefix=PREFIX))
                self.held = os.open(self.own, os.O_RDONLY)
                fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self.own

    async def keep(self, filename: str, announced: str | None, blocks: AsyncIterator[bytes]) -> tuple[str, Path]:
        """Write what comes; its name here and where it lies. Raises InputError, also for nothing."""
        if announced and LENGTH.fullmatch(announced):
            self._refuse_over(int(announced))
        if self.under_way >= UNDER_WAY:
            raise TooMany(f"{UNDER_WAY} queries are being sent at once; try again in a moment")
        name = secrets.token_urlsafe(12)
        ending = Path(filename).suffix.lower()
        path = self.folder / f"{name}{ending if ending in ENDINGS else ''}"
        self.under_way += 1
        try:
            with path.open("xb") as file:
                await self._write(file.write, blocks)
            if not path.stat().st_size:
                raise InputError("an empty file is no query; choose a video or a picture")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            self.under_way -= 1
        with self.lock:
            self.files[name] = path
            while len(self.files) > KEPT:
                self.files.popitem(last=False)[1].unlink(missing_ok=True)
        return name, path

    async def _write(self, write: Callable[[bytes], int], blocks: AsyncIterator[bytes]) -> None:
        size = 0
        try:
            async with asyncio.timeout(self.limits.time_s):
                async for block in blocks:
                    size += len(block)
                    self._refuse_over(size)
                    write(block)
        except TimeoutError:
            why = f"sending it took more than {self.limits.time_s:g} s; send a shorter piece of it"
            raise TooSlow(why) from None

    def _refuse_over(self, size: int) -> None:
        if size > self.limits.size_bytes:
            limit_mb = self.limits.size_bytes / 2**20
            raise TooLarge(f"a query may have {limit_mb:g} MB at most; send a shorter piece of it")

    def path(self, name: str) -> Path:
        """Where a query lies. Raises InputError for one that has left."""
        with self.lock:
            if name not in self.files:
                raise InputError("that query is not kept any more; choose its file again")
            self.files.move_to_end(name)
            return self.files[name]

    def drop(self, name: str) -> None:
        with self.lock, contextlib.suppress(KeyError):
            self.files.pop(name).unlink(missing_ok=True)

    def close(self) -> None:
        with self.lock:
            if self.own is not None:
                shutil.rmtree(self.own, ignore_errors=True)
                os.close(self.held)
                self.own = None


def sweep() -> None:
    """Remove what servers that were killed have left: folders that nobody holds the lock of."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(held)
                if status.st_uid == os.getuid() and time.time() - status.st_mtime > SWEPT_AFTER_S:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
