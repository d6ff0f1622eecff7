"""Checkpoints of TensorFlow 2 written from the description of their format, without TensorFlow, checksums made up."""

from pathlib import Path

import numpy as np

DTYPE_NUMBERS = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def build_block(rows: list[tuple[bytes, bytes]], restart_every: int = 4) -> bytes:
    """Keys that share their beginning with the one before are stored as the rest; a restart stores one whole."""
    data, restarts, last = bytearray(), [], b""
    for n, (key, value) in enumerate(rows):
        shared = 0
        if n % restart_every == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    ends = b"".join(offset.to_bytes(4, "little") for offset in [*restarts, len(restarts)])
    return bytes(data) + ends


def write_checkpoint(index: Path, tensors: dict[str, np.ndarray], rows_per_block: int = 7) -> None:
    """NAME.index and NAME.data-00000-of-00001 with these variables, and a text that is no tensor."""
    data, entries = bytearray(), {b"": field(1, 1)}
    for name, array in tensors.items():
        shape = b"".join(field(2, field(1, size)) for size in array.shape)
        place = field(4, len(data)) + field(5, array.nbytes) + varint(6 << 3 | 5) + b"crc!"
        entry = field(1, DTYPE_NUMBERS[array.dtype.name]) + field(2, shape) + place
        entries[f"{name}/.ATTRIBUTES/VARIABLE_VALUE".encode()] = entry
        data += array.tobytes()
    slot = field(1, 1) + field(2, b"") + field(5, 4)
    entries[b"a/kernel/.OPTIMIZER_SLOT/optimizer/momentum/.ATTRIBUTES/VARIABLE_VALUE"] = slot
    entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = field(1, 7) + field(2, b"") + field(5, 3)
    rows = sorted(entries.items())
    table, handles = bytearray(), []
    for first in range(0, len(rows), rows_per_block):
        part = rows[first : first + rows_per_block]
        block = build_block(part)
        handles.append((part[-1][0], varint(len(table)) + varint(len(block))))
        table += block + b"\0" + b"crc!"
    places = []
    for rows_of in ([], handles):  # of metadata, and of the blocks
        block = build_block(rows_of)
        places.append(varint(len(table)) + varint(len(block)))
        table += block + b"\0" + b"crc!"
    footer = b"".join(places)
    table += footer + bytes(40 - len(footer)) + (0xDB4775248B80FB57).to_bytes(8, "little")
    index.write_bytes(table)
    index.with_name(f"{index.stem}.data-00000-of-00001").write_bytes(data)
