"""A checkpoint of TensorFlow 2 (NAME.index, NAME.data-00000-of-00001), read without TensorFlow.

The index is a table of sorted keys in blocks, as LevelDB writes it; each value is a small protocol buffer that says
where in which data file a tensor lies. Nothing in it can run. Kernels of convolutions are turned to PyTorch's axes.
Source: LevelDB's doc/table_format.md; tensorflow/core/protobuf/tensor_bundle.proto.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES, TRAILER_BYTES = 48, 5  # of the file; of each block, for its kind and its checksum
DTYPES = {1: torch.float32, 2: torch.float64, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
VALUE_SUFFIX, SLOT = "/.ATTRIBUTES/VARIABLE_VALUE", "/.OPTIMIZER_SLOT/"


def read_tensorflow_checkpoint(index: Path) -> dict[str, Tensor]:
    """The variables of a checkpoint by their keys, with dots for slashes. Raises ValueError and OSError."""
    table = index.read_bytes()
    entries = dict(read_table(table))
    num_shards = int(next((v for f, v in read_fields(entries.pop(b"", b"")) if f == 1 and isinstance(v, int)), 1))
    prefix = index.name.removesuffix(".index")
    shards = [index.with_name(f"{prefix}.data-{n:05d}-of-{num_shards:05d}") for n in range(min(num_shards, 1000))]
    tensors: dict[str, Tensor] = {}
    for key, value in entries.items():
        name = key.decode("utf-8", errors="replace")
        if name.endswith(VALUE_SUFFIX) and SLOT not in name:
            tensor = read_tensor(value, shards)
            if tensor is not None:
                tensors[name.removesuffix(VALUE_SUFFIX).replace("/", ".")] = turn_kernel(name, tensor)
    return tensors


def turn_kernel(name: str, tensor: Tensor) -> Tensor:
    """A kernel (t, h, w, in, out) as (out, in, t, h, w); other tensors as they are."""
    is_kernel = tensor.ndim == 5 and name.removesuffix(VALUE_SUFFIX).endswith("/kernel")
    return tensor.permute(4, 3, 0, 1, 2) if is_kernel else tensor


def read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table file."""
    if len(table) < FOOTER_BYTES or int.from_bytes(table[-8:], "little") != MAGIC:
        raise ValueError("no index of a checkpoint of TensorFlow")
    footer = table[-FOOTER_BYTES:]
    _, at = read_varint(footer, 0)  # the block of metadata
    _, at = read_varint(footer, at)
    offset, at = read_varint(footer, at)
    size, _ = read_varint(footer, at)
    for _, handle in read_block(table, offset, size):
        start, at = read_varint(handle, 0)
        length, _ = read_varint(handle, at)
        yield from read_block(table, start, length)


def read_block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block, each key stored as what it does not share with the one before."""
    block = table[offset : offset + size]
    if size < 4 or len(block) < size or offset + size + TRAILER_BYTES > len(table):
        raise ValueError("its index is cut off")
    if table[offset + size] != 0:
        raise ValueError("its index is compressed")
    end, at, key = size - 4 * (int.from_bytes(block[-4:], "little") + 1), 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        own, at = read_varint(block, at)
        length, at = read_varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ValueError("its index is damaged")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the low ones first, and where it ends.

    >>> read_varint(bytes([0xAC, 0x02]), 0)
    (300, 2)
    """
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    raise ValueError("a number in it is cut off")


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and contents of the fields of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(message, at)
            yield tag >> 3, value
            continue
        length, at = read_varint(message, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, len(message)), at)
        if at + length > len(message):
            raise ValueError("a field in it is cut off")
        yield tag >> 3, message[at : at + length]
        at += length


def read_tensor(entry: bytes, shards: list[Path]) -> Tensor | None:
    """The tensor that an entry describes; None for texts and other kinds of values."""
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}  # type, shard, offset, size; zeros are not written
    dims: list[int] = []
    for field, value in read_fields(entry):
        if isinstance(value, int):
            numbers[field] = value
        elif field == 2:
            dims = [read_dim(dim) for number, dim in read_fields(value) if number == 2 and isinstance(dim, bytes)]
    dtype = DTYPES.get(numbers[1])
    if dtype is None:
        return None
    count = 1
    for dim in dims:
        count *= dim
    if numbers[3] >= len(shards) or count * dtype.itemsize != numbers[5] or not count:
        raise ValueError("a tensor in it does not have the size that its shape needs")
    with open(shards[numbers[3]], "rb") as file:
        file.seek(numbers[4])
        data = file.read(min(numbers[5], shards[numbers[3]].stat().st_size))
    if len(data) != numbers[5]:
        raise ValueError(f"{shards[numbers[3]].name} is cut off")
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(dims)


def read_dim(message: bytes) -> int:
    """The size of one axis."""
    return next((value for field, value in read_fields(message) if field == 1 and isinstance(value, int)), 0)
