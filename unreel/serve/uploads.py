"""Queries that a browser sends: kept in a folder of this server's own, up to a size each and together."""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from unreel.errors import InputError

KEPT, AT_ONCE = 20, 8
PREFIX = "unreel-queries-"
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


def alive(process: str) -> bool:
    """Whether a process of this number runs, on any server; what is no number is left alone."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        pass
    return True


class Uploads:
    """Files by a name that cannot be guessed; the oldest leave when there are more than `KEPT`."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.lock = limits, threading.Lock()
        self.folder: Path | None = None
        self.files: OrderedDict[str, Path] = OrderedDict()
        self.coming = 0

    def home(self) -> Path:
        """The folder, made for the first query; those of servers that were killed are taken away then."""
        with self.lock:
            if self.folder is None:
                for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
                    if not alive(left.name.removeprefix(PREFIX).partition("-")[0]):
                        shutil.rmtree(left, ignore_errors=True)
                self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
            return self.folder

    async def keep(self, filename: str, announced: str | None, blocks: AsyncIterator[bytes]) -> tuple[str, Path]:
        """Write what comes; its name here and where it lies. Raises TooLarge, TooSlow, InputError for nothing."""
        if announced and announced.isdigit():
            self._refuse_over(int(announced))
        if self.coming >= AT_ONCE:
            raise TooMany(f"{AT_ONCE} queries are being sent already; send it again in a moment")
        self.coming += 1
        try:
            return await self._kept(filename, blocks)
        finally:
            self.coming -= 1

    async def _kept(self, filename: str, blocks: AsyncIterator[bytes]) -> tuple[str, Path]:
        name = secrets.token_urlsafe(12)
        ending = Path(filename).suffix.lower()
        path = self.home() / f"{name}{ending if ending in ENDINGS else ''}"
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
        size = 0
        try:
            async with asyncio.timeout(self.limits.time_s):  # also for one who sends nothing more
                async for block in blocks:
                    size += len(block)
                    self._refuse_over(size)
                    write(block)
        except TimeoutError as error:
            raise TooSlow(f"sending it took more than {self.limits.time_s:g} s; send a shorter piece of it") from error

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
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
