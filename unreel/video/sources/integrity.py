"""Whether a video file is whole, by the sizes that its container states; nothing is decoded.

Some writers state sizes that are too large, so what is missing by them may be missing nothing (packet_index.py).
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from unreel.video.sources.iso_boxes import BOX_HEADER_BYTES, is_box_type, parse_box_header

ASF_MAGIC = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
MEDIA_BOXES = frozenset((b"moov", b"moof", b"mdat"))
GIF_EXTENSION, GIF_IMAGE = b"!", b","
OGG_PAGE, MAX_OGG_PAGE_BYTES = b"OggS", 65307
ROQ_MAGIC = bytes.fromhex("8410ffffffff")


class Truncation(NamedTuple):
    """What is missing at the end of a file, in words; `is_certain` unless only a size field says so.

    `spoils_last` when what is left of the last picture still comes as a packet.
    """

    detail: str
    is_certain: bool
    spoils_last: bool = False


def find_truncation(path: str | Path, size_bytes: int) -> Truncation | None:
    """What is missing at the end of a file; None for nothing, or when its format states no size."""
    with open(path, "rb") as file:
        head = file.read(189)
        if detail := _check_pictures(file, head, size_bytes):
            return Truncation(detail, True, spoils_last=True)
        if detail := _check_pages(file, head, size_bytes):
            return Truncation(detail, True)
        detail = _check_sizes(file, head, size_bytes)
    return Truncation(detail, False) if detail else None


def _check_pictures(file: BinaryIO, head: bytes, size_bytes: int) -> str:
    """Formats whose last piece may be incomplete and is given as it is: transport streams, GIF."""
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _check_gif(file)
    if head[:1] == head[188:] == b"G" and (rest := size_bytes % 188):
        file.seek(size_bytes - rest)
        return "the last transport packet is incomplete" if file.read(1) == b"G" else ""
    return ""


def _check_pages(file: BinaryIO, head: bytes, size_bytes: int) -> str:
    """Formats whose pieces state their sizes, of which an incomplete last one is left out: Ogg, RoQ."""
    if head[:4] == OGG_PAGE:
        return _check_ogg(file, size_bytes)
    return _check_roq(file, size_bytes) if head[:6] == ROQ_MAGIC else ""


def _check_ogg(file: BinaryIO, size_bytes: int) -> str:
    """The last page has the lengths of its segments after 27 bytes. Source: RFC 3533, 6."""
    start_byte = max(0, size_bytes - 2 * MAX_OGG_PAGE_BYTES)
    file.seek(start_byte)
    tail = file.read()
    at = tail.rfind(OGG_PAGE)
    num_segments = tail[at + 26] if 0 <= at < len(tail) - 26 else 0
    end = at + 27 + num_segments + sum(tail[at + 27 : at + 27 + num_segments])
    return "the last Ogg page is incomplete" if at >= 0 and end > len(tail) else ""


def _check_roq(file: BinaryIO, size_bytes: int) -> str:
    """RoQ is a row of chunks: two bytes of type, four of length, two more, the content."""
    start_byte = 8
    while start_byte + 8 <= size_bytes:
        file.seek(start_byte + 2)
        start_byte += 8 + int.from_bytes(file.read(4), "little")
    return "the last RoQ chunk is incomplete" if start_byte > size_bytes else ""


def _check_sizes(file: BinaryIO, head: bytes, size_bytes: int) -> str:
    """Formats whose headers state sizes."""
    if is_box_type(head[4:8]) and (names := _list_top_boxes(file, size_bytes)) and _is_iso(names):
        return _check_iso(names, size_bytes)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _check_riff(file, size_bytes)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _check_matroska(file, size_bytes)
    if head.startswith((ASF_MAGIC, b"FLV")):
        file.seek(len(head))
        return _check_size_header(head + file.read(4096), size_bytes)
    return ""


def _describe_overrun(name: str, end_byte: int, size_bytes: int) -> str:
    return f"{name} should end at byte {end_byte}, the file ends at {size_bytes}" if end_byte > size_bytes else ""


def _check_iso(boxes: Sequence[tuple[bytes, int]], size_bytes: int) -> str:
    """A still picture (HEIC, AVIF) has a `meta` box and no `moov`; it is not truncated."""
    name, end_byte = boxes[-1]
    if end_byte > size_bytes:
        return _describe_overrun(name.decode("latin-1"), end_byte, size_bytes)
    return "" if {name for name, _ in boxes} & {b"moov", b"meta"} else "no moov box"


def _is_iso(boxes: Sequence[tuple[bytes, int]]) -> bool:
    """Whether the file begins as ISO files do, or has the boxes that hold their pictures."""
    names = {name for name, _ in boxes}
    return boxes[0][0] in (b"ftyp", b"styp") or bool(names & MEDIA_BOXES)


def _list_top_boxes(file: BinaryIO, size_bytes: int) -> list[tuple[bytes, int]]:
    """Type and end byte of the top-level boxes of an ISO file (mp4, mov), up to what is no box, or the file's end."""
    boxes: list[tuple[bytes, int]] = []
    start_byte = 0
    while start_byte + 8 <= size_bytes:
        file.seek(start_byte)
        name, length, header_bytes = parse_box_header(file.read(BOX_HEADER_BYTES))
        if length == 0 and header_bytes == 8:
            length = size_bytes - start_byte
        if not is_box_type(name) or length < 8:
            break
        start_byte += length
        boxes.append((name, start_byte))
    return boxes


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


def _check_gif(file: BinaryIO) -> str:
    """Whether the last picture is whole. What follows the pictures, end mark or not, does not matter."""
    file.seek(6)
    _, _, flags, _, _ = struct.unpack("<HHBBB", file.read(7).ljust(7, b"\0"))
    _skip_palette(file, flags)
    while mark := file.read(1):
        if mark == GIF_EXTENSION:
            file.seek(1, os.SEEK_CUR)
        elif mark == GIF_IMAGE:
            _skip_palette(file, file.read(9).ljust(9, b"\0")[8])
            file.seek(1, os.SEEK_CUR)
        else:
            return ""
        if not _skip_sub_blocks(file):
            return "the last picture is incomplete" if mark == GIF_IMAGE else ""
    return ""


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)


def _skip_sub_blocks(file: BinaryIO) -> bool:
    """Skip a chain of blocks with their length in front; False when the file ends inside."""
    while length := file.read(1):
        if length == b"\0":
            return True
        file.seek(length[0], os.SEEK_CUR)
    return False
