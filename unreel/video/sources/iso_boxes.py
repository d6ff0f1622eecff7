"""Boxes, of which ISO files (mp4, mov) are made. Source: ISO/IEC 14496-12, 4.2."""

BOX_HEADER_BYTES = 16  # enough for a header with a 64-bit length


def parse_box_header(data: bytes) -> tuple[bytes, int, int]:
    """Type, length in bytes (0: up to the end of the file) and header bytes of the box that `data` begins with."""
    length, name = int.from_bytes(data[:4], "big"), data[4:8]
    return (name, int.from_bytes(data[8:16], "big"), 16) if length == 1 else (name, length, 8)


def is_box_type(name: bytes) -> bool:
    r"""Whether four bytes may be the type of a box: any four printable ones, writers have boxes of their own.

    >>> is_box_type(b"moov"), is_box_type(b"\xa9day"), is_box_type(b"\0\0\0\x18")
    (True, True, False)
    """
    return len(name) == 4 and all(32 <= byte < 127 or byte == 0xA9 for byte in name)
