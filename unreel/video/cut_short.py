"""Does a file end before its own container says it does? Told by its bytes alone, before any decoder sees it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof", b"mfra", b"sidx", b"uuid", b"meta")


def missing_end(path: str | Path) -> str:
    """What is missing at the end of the file, in words; "" when nothing is, or when its format can't tell."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(189)
        if head[4:8] in ISO_BOXES:
            return _iso(file, size)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _riff(file, size)
        if head[:4] == b"\x1aE\xdf\xa3":
            return _matroska(file, size)
        if head[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(file)
        if head[:1] == head[188:] == b"G" and size % 188:
            return "the last transport packet is incomplete"
    return ""


def _beyond(name: str, end: int, size: int) -> str:
    return f"{name} should end at byte {end}, the file at {size}" if end > size else ""


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


def _iso(file: BinaryIO, size: int) -> str:
    boxes = list(_boxes(file, size))
    for name, end in boxes:
        if end > size:
            return _beyond(name.decode(), end, size)
    names = {name for name, _ in boxes}
    # A still picture (HEIC, AVIF) has a `meta` box and no `moov`.
    return "no moov box" if b"moov" not in names and b"meta" not in names else ""


def _riff(file: BinaryIO, size: int) -> str:
    """Files above 1 GB are several RIFF chunks in a row. Some writers count the 8 bytes of the chunk's own head."""
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
    if file.read(4) != b"\x18\x53\x80\x67":
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


def _gif(file: BinaryIO) -> str:
    """Ends with a semicolon, perhaps with padding behind it."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 64))
    return "" if file.read().rstrip(b"\0\r\n ").endswith(b";") else "no end mark"
