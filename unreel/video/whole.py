"""Is there a whole file at all? Told by the file system and by the container's own sizes, before any decoding.

Of a piece of a packed corpus its checksum tells as much, and more.
"""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from unreel.errors import VideoError
from unreel.video.addresses import is_piece
from unreel.video.packed import find_piece, read_piece

ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ISO_BOXES = frozenset(b"ftyp moov mdat wide free skip pnot styp moof mfra sidx uuid meta".split())


class Standing(NamedTuple):
    """What tells one state of a file from a later one, and its size."""

    version: str
    size_bytes: int


def usable(path: str | Path) -> Standing:
    """The standing of a whole file or piece. Raises VideoError: missing, unreadable, empty file, truncated, damaged."""
    if is_piece(path):
        read_piece(path)
        piece = find_piece(path)
        return Standing(piece.checksum, piece.size_bytes)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(str(path), "unreadable", "not a regular file")
        if status.st_size == 0:
            raise VideoError(str(path), "empty file")
        if cut := missing_end(path, status.st_size):
            raise VideoError(str(path), "truncated", cut)
        return Standing(str(status.st_mtime_ns), status.st_size)
    except FileNotFoundError as error:
        raise VideoError(str(path), "missing") from error
    except OSError as error:
        raise VideoError(str(path), "unreadable", error.strerror or str(error)) from error


def missing_end(path: str | Path, size: int) -> str:
    """What is missing at the end of the file, in words; "" when nothing is, or when its format can't tell."""
    with open(path, "rb") as file:
        head = file.read(189)
        if head[4:8] in ISO_BOXES:
            return _iso(file, size)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _riff(file, size)
        if head[:4] == b"\x1aE\xdf\xa3":
            return _matroska(file, size)
        if head[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(file, size)
        if head[:1] == head[188:] == b"G" and size % 188:
            return "the last transport packet is incomplete"
        return _noted(head + file.read(4096), size)


def _beyond(name: str, end: int, size: int) -> str:
    return f"{name} should end at byte {end}, the file ends at {size}" if end > size else ""


def _iso(file: BinaryIO, size: int) -> str:
    """A still picture (HEIC, AVIF) has a `meta` box and no `moov`: that is not for us to call truncated."""
    names = set()
    for name, end in _boxes(file, size):
        if end > size:
            return _beyond(name.decode(), end, size)
        names.add(name)
    return "" if names & {b"moov", b"meta"} else "no moov box"


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Name and end of every top-level box of an ISO file (mp4, mov), up to the first that is not one."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - at
        if name not in ISO_BOXES or length < 8:
            return
        yield name, at + length
        at += length


def _riff(file: BinaryIO, size: int) -> str:
    """Files above 1 GB are several RIFF chunks in a row. Some writers count the 8 bytes of a chunk's own head."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF" or length == 0:
            return ""
        if at + length > size:
            return _beyond("the AVI", at + 8 + length, size)
        at += 8 + length + length % 2
    return ""


def _matroska(file: BinaryIO, size: int) -> str:
    """The Segment is the second top-level element; all ones is a size that was not known when it was written."""
    file.seek(4)
    header = _vint(file)
    file.seek(header, os.SEEK_CUR)
    if header < 0 or file.read(4) != b"\x18\x53\x80\x67":
        return ""
    length = _vint(file)
    return "" if length < 0 else _beyond("the Segment", file.tell() + length, size)


def _vint(file: BinaryIO) -> int:
    """An EBML number at the file's position; -1 when it stands for unknown."""
    first = (file.read(1) or b"\0")[0]
    more = 8 - first.bit_length()
    if more > 7:
        return -1
    value = (first & (0x7F >> more)) << 8 * more | int.from_bytes(file.read(more), "big")
    return -1 if value == (1 << 7 * (more + 1)) - 1 else value


def _noted(head: bytes, size: int) -> str:
    """WMV and FLV note their own size near the start; 0 stands for unknown."""
    if head.startswith(ASF) and (at := head.find(ASF_PROPERTIES)) > 0:
        return _beyond("the file", int.from_bytes(head[at + 40 : at + 48], "little"), size)
    if head.startswith(b"FLV") and (at := head.find(b"filesize\0")) > 0:
        (length,) = struct.unpack(">d", head[at + 9 : at + 17].ljust(8, b"\0"))
        return _beyond("the file", int(length), size) if size < length < 2**60 else ""
    return ""


def _gif(file: BinaryIO, size: int) -> str:
    """Ends with a semicolon, perhaps with padding behind it."""
    file.seek(max(0, size - 64))
    return "" if file.read().rstrip(b"\0\r\n ").endswith(b";") else "no end mark"
