"""Bytes of an open file as a browser asks for them: all, or one range (RFC 9110, 14)."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

BLOCK = 1 << 18
ONE = re.compile("bytes=([0-9]{0,18})-([0-9]{0,18})")
KEEP = {"Cache-Control": "private, max-age=3600", "Accept-Ranges": "bytes"}


def ranged(source: BinaryIO, media_type: str, asked: str | None) -> Response:
    """200 with all, 206 with what was asked, 416 for what is not there. Several ranges at once are answered with all.

    The file is closed when it was sent.
    """
    size = source.seek(0, os.SEEK_END)
    found = ONE.fullmatch(asked.strip()) if asked else None
    if found is None or found.groups() == ("", ""):
        return _sent(source, 0, size, media_type, 200, {})
    first, last = _span(found[1], found[2], size)
    if first > last:
        source.close()
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    head = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return _sent(source, first, last + 1 - first, media_type, 206, head)


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    """First and last byte; "-500" are the last 500."""
    if not first:
        return max(0, size - int(last)), size - 1 if int(last) else -1
    return int(first), min(int(last), size - 1) if last else size - 1


def _sent(source: BinaryIO, first: int, count: int, media_type: str, status: int, head: dict[str, str]) -> Response:
    def read() -> Iterator[bytes]:
        with source:
            source.seek(first)
            left = count
            while left > 0 and (block := source.read(min(BLOCK, left))):
                left -= len(block)
                yield block

    head = KEEP | head | {"Content-Length": str(count)}
    return StreamingResponse(read(), status, head, media_type)
