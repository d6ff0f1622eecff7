"""H.264 coded as fields: two pictures a frame, each of raw macroblocks (I_PCM). No encoder that pip brings writes them.

Source: ITU-T H.264, 7.3.2.1.1 (sequence), 7.3.2.2 (picture parameters), 7.3.3 (slice header), 7.3.5 (macroblock).
"""

from collections.abc import Iterator

import numpy as np
from videos import HEIGHT, WIDTH, picture

FRAME_NUM_BITS, ORDER_BITS, GROUP = 4, 8, 10  # frames from one key picture to the next
GREY_CHROMA = b"\x80" * 128


def code_fields(num_frames: int) -> Iterator[tuple[int, list[bytes]]]:
    """Each frame's number and the units of its top and bottom field, with start codes; key frames at 0, 10, 20, ..."""
    for number in range(num_frames):
        luma = picture(number)[:, :, 0]
        parts = [_write_slice(luma[parity::2], number % GROUP, parity, number // GROUP) for parity in (0, 1)]
        if number % GROUP == 0:
            parts[0] = _write_sequence() + _write_pictures() + parts[0]
        yield number, parts


def _number(value: int) -> str:
    """Exp-Golomb code."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _unit(header: int, bits: str) -> bytes:
    """A unit with start code, end bit, and a 3 wherever two zeros would otherwise be followed by less than 4."""
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    out = bytearray()
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if byte < 4 and out[-2:] == b"\0\0":
            out.append(3)
        out.append(byte)
    return b"\0\0\0\1" + bytes([header]) + bytes(out)


def _write_sequence() -> bytes:
    """Main profile, fields allowed, 25 frames a second, none reordered."""
    bits = f"{77:08b}{0:08b}{30:08b}" + _number(0) + _number(FRAME_NUM_BITS - 4) + _number(0) + _number(ORDER_BITS - 4)
    bits += _number(1) + "0" + _number(WIDTH // 16 - 1) + _number(HEIGHT // 32 - 1)
    bits += "0" + "0" + "1" + "0"  # frames and fields, no mixing in macroblocks, direct_8x8, no cropping
    bits += "1" + "00000"[:4] + "1" + f"{1:032b}{50:032b}" + "1" + "00" + "0"  # timing: 50 fields a second
    bits += "1" + "1" + _number(0) * 2 + _number(10) * 2 + _number(0) + _number(1)
    return _unit(0x67, bits)


def _write_pictures() -> bytes:
    return _unit(0x68, _number(0) * 2 + "00" + _number(0) * 3 + "000" + _number(0) * 3 + "100")


def _write_slice(field: np.ndarray, frame_num: int, parity: int, group: int) -> bytes:
    """One field (H, W) as an I slice; the top field of a group's first frame is an IDR picture."""
    is_idr = frame_num == 0 and parity == 0
    bits = _number(0) + _number(7) + _number(0) + f"{frame_num:0{FRAME_NUM_BITS}b}" + f"1{parity}"
    bits += _number(group % 2) if is_idr else ""
    bits += f"{2 * frame_num + parity:0{ORDER_BITS}b}" + ("00" if is_idr else "0") + _number(0) + _number(1)
    for top in range(0, field.shape[0], 16):
        for left in range(0, field.shape[1], 16):
            bits += _number(25)
            bits += "0" * (-len(bits) % 8)  # the unit's first byte is whole, so this aligns in the unit too
            block = field[top : top + 16, left : left + 16].tobytes() + GREY_CHROMA
            bits += f"{int.from_bytes(block, 'big'):0{8 * len(block)}b}"
    return _unit(0x65 if is_idr else 0x61, bits)
