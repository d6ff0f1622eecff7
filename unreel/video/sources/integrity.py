"""Whether a video file is whole, by the sizes that its container states; nothing is decoded."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from unreel.video.sources.iso_boxes import BOX_HEADER_BYTES, parse_box_header

ASF_MAGIC = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ISO_BOX_TYPES = frozenset(b"ftyp moov mdat wide free skip pnot styp moof mfra sidx uuid meta".split())


def find_truncation(path: str | Path, size_bytes: int) -> str:
    """What is missing at the end of a file, in words; "" for nothing, or when its format states no size."""
    with open(path, "rb") as file:
        head = file.read(189)
        if head[4:8] in ISO_BOX_TYPES:
            return _check_iso(file, size_bytes)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _check_riff(file, size_bytes)
        if head[:4] == b"\x1aE\xdf\xa3":
            return _check_matroska(file, size_bytes)
        if head[:6] in (b"GIF87a", b"GIF89a"):
            return _check_gif(file, size_bytes)
        if head[:1] == head[188:] == b"G" and size_bytes % 188:
            return "the last transport packet is incomplete"
        return _check_size_header(head + file.read(4096), size_bytes)


def _describe_overrun(name: str, end_byte: int, size_bytes: int) -> str:
    return f"{name} should end at byte {end_byte}, the file ends at {size_bytes}" if end_byte > size_bytes else ""


def _check_iso(file: BinaryIO, size_bytes: int) -> str:
    """A still picture (HEIC, AVIF) has a `meta` box and no `moov`; it is not truncated."""
    names = set()
    for name, end in _iter_top_boxes(file, size_bytes):
        if end > size_bytes:
            return _describe_overrun(name.decode(), end, size_bytes)
        names.add(name)
    return "" if names & {b"moov", b"meta"} else "no moov box"


def _iter_top_boxes(file: BinaryIO, size_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Type and end byte of the top-level boxes of an ISO file (mp4, mov), up to the first unknown type."""
    start_byte = 0
    while start_byte + 8 <= size_bytes:
        file.seek(start_byte)
        name, length, header_bytes = parse_box_header(file.read(BOX_HEADER_BYTES))
        if length == 0 and header_bytes == 8:
            length = size_bytes - start_byte
        if name not in ISO_BOX_TYPES or length < 8:
            return
        yield name, start_byte + length
        start_byte += length


def _check_riff(file: BinaryIO, size_bytes: int) -> str:
    """AVI above 1 GB is several RIFF chunks in a row. Some writers count the 8 bytes of a chunk's own header."""
    start_byte = 0
    while start_byte + 8 <= size_bytes:
        file.seek(start_byte)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF" or length == 0:
            return ""
        if start_byte + length > size_bytes:
            return _describe_overrun("the AVI", start_byte + 8 + length, size_bytes)
        start_byte += 8 + length + length % 2
    return ""


def _check_matroska(file: BinaryIO, size_bytes: int) -> str:
    """The Segment is the second top-level element; a size of all ones was unknown when it was written."""
    file.seek(4)
    header = _read_vint(file)
    file.seek(header, os.SEEK_CUR)
    if header < 0 or file.read(4) != b"\x18\x53\x80\x67":
        return ""
    length = _read_vint(file)
    return "" if length < 0 else _describe_overrun("the Segment", file.tell() + length, size_bytes)


def _read_vint(file: BinaryIO) -> int:
    """The EBML number at the file's position; -1 for unknown."""
    first = (file.read(1) or b"\0")[0]
    more = 8 - first.bit_length()
    if more > 7:
        return -1
    value = (first & (0x7F >> more)) << 8 * more | int.from_bytes(file.read(more), "big")
    return -1 if value == (1 << 7 * (more + 1)) - 1 else value


def _check_size_header(head: bytes, size_bytes: int) -> str:
    """WMV and FLV state their size near the start; 0 is unknown."""
    if head.startswith(ASF_MAGIC) and (start_byte := head.find(ASF_FILE_PROPERTIES)) > 0:
        return _describe_overrun(
            "the file", int.from_bytes(head[start_byte + 40 : start_byte + 48], "little"), size_bytes
        )
    if head.startswith(b"FLV") and (start_byte := head.find(b"filesize\0")) > 0:
        (length,) = struct.unpack(">d", head[start_byte + 9 : start_byte + 17].ljust(8, b"\0"))
        return _describe_overrun("the file", int(length), size_bytes) if size_bytes < length < 2**60 else ""
    return ""


def _check_gif(file: BinaryIO, size_bytes: int) -> str:
    """A GIF ends with a semicolon, sometimes followed by padding."""
    file.seek(max(0, size_bytes - 64))
    return "" if file.read().rstrip(b"\0\r\n ").endswith(b";") else "no end mark"
