"""Responses with an open file: all of it, or the requested byte range (RFC 9110, 14)."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

CHUNK_BYTES = 1 << 18
RANGE_PATTERN = re.compile("bytes=([0-9]{0,18})-([0-9]{0,18})")
CACHE_HEADERS = {"Cache-Control": "private, max-age=3600", "Accept-Ranges": "bytes"}


def make_range_response(source: BinaryIO, media_type: str, range_header: str | None) -> Response:
    """200 with the whole file, 206 with a range, or 416 for a range outside. Several ranges get the whole file.

    The file is closed after it is sent.
    """
    size = source.seek(0, os.SEEK_END)
    match = RANGE_PATTERN.fullmatch(range_header.strip()) if range_header else None
    if match is None or match.groups() == ("", ""):
        return _make_stream_response(source, 0, size, media_type, 200, {})
    first, last = _parse_range(match[1], match[2], size)
    if first > last:
        source.close()
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    range_headers = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return _make_stream_response(source, first, last + 1 - first, media_type, 206, range_headers)


def _parse_range(first: str, last: str, size: int) -> tuple[int, int]:
    """First and last byte; without a first one, e.g. "-500", the last 500 bytes."""
    if not first:
        return max(0, size - int(last)), size - 1 if int(last) else -1
    return int(first), min(int(last), size - 1) if last else size - 1


def _make_stream_response(
    source: BinaryIO, first: int, count: int, media_type: str, status: int, headers: dict[str, str]
) -> Response:
    def read() -> Iterator[bytes]:
        with source:
            source.seek(first)
            remaining = count
            while remaining > 0 and (block := source.read(min(CHUNK_BYTES, remaining))):
                remaining -= len(block)
                yield block

    headers = CACHE_HEADERS | headers | {"Content-Length": str(count)}
    return StreamingResponse(read(), status, headers, media_type)
