"""Queries that a browser sends: kept in a folder of this server's own, up to a size each and together."""

import contextlib
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

KEPT = 20
ENDINGS = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
ENDINGS |= {".gif", ".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class TooLarge(InputError):
    pass


class TooSlow(InputError):
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
        self.folder = Path(tempfile.mkdtemp(prefix="unreel-queries-"))
        self.files: OrderedDict[str, Path] = OrderedDict()

    async def keep(self, filename: str, announced: str | None, blocks: AsyncIterator[bytes]) -> tuple[str, Path]:
        """Write what comes; its name here and where it lies. Raises TooLarge, TooSlow, InputError for nothing."""
        if announced and announced.isdigit():
            self._refuse_over(int(announced))
        name = secrets.token_urlsafe(12)
        ending = Path(filename).suffix.lower()
        path = self.folder / f"{name}{ending if ending in ENDINGS else ''}"
        try:
            with path.open("xb") as file:
                await self._write(file.write, blocks)
            if not path.stat().st_size:
                raise InputError("an empty file is no query; choose a video or a picture")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with self.lock:
            self.files[name] = path
            while len(self.files) > KEPT:
                self.files.popitem(last=False)[1].unlink(missing_ok=True)
        return name, path

    async def _write(self, write: Callable[[bytes], int], blocks: AsyncIterator[bytes]) -> None:
        begun_s, size = time.monotonic(), 0
        async for block in blocks:
            size += len(block)
            self._refuse_over(size)
            if time.monotonic() - begun_s > self.limits.time_s:
                raise TooSlow(f"sending it took more than {self.limits.time_s:g} s; send a shorter piece of it")
            write(block)

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
        shutil.rmtree(self.folder, ignore_errors=True)
