"""Bytes of an open file as a browser asks for them: all, or one range (RFC 9110, 14)."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

CHUNK_BYTES = 1 << 18
RANGE_PATTERN = re.compile("bytes=([0-9]{0,18})-([0-9]{0,18})")
CACHE_HEADERS = {"Cache-Control": "private, max-age=3600", "Accept-Ranges": "bytes"}


def make_range_response(source: BinaryIO, media_type: str, range_header: str | None) -> Response:
    """200 with all, 206 with what was asked, 416 for what is not there. Several ranges at once are answered with all.

    The file is closed when it was sent.
    """
    size = source.seek(0, os.SEEK_END)
    found = RANGE_PATTERN.fullmatch(range_header.strip()) if range_header else None
    if found is None or found.groups() == ("", ""):
        return _make_stream_response(source, 0, size, media_type, 200, {})
    first, last = _parse_range(found[1], found[2], size)
    if first > last:
        source.close()
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    head = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return _make_stream_response(source, first, last + 1 - first, media_type, 206, head)


def _parse_range(first: str, last: str, size: int) -> tuple[int, int]:
    """First and last byte; "-500" are the last 500."""
    if not first:
        return max(0, size - int(last)), size - 1 if int(last) else -1
    return int(first), min(int(last), size - 1) if last else size - 1


def _make_stream_response(
    source: BinaryIO, first: int, count: int, media_type: str, status: int, headers: dict[str, str]
) -> Response:
    def read() -> Iterator[bytes]:
        with source:
            source.seek(first)
            left = count
            while left > 0 and (block := source.read(min(CHUNK_BYTES, left))):
                left -= len(block)
                yield block

    headers = CACHE_HEADERS | headers | {"Content-Length": str(count)}
    return StreamingResponse(read(), status, headers, media_type)
