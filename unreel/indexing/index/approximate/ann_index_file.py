"""An index on disk: the FAISS index, its description as JSON, the length of the JSON, and the version."""

import dataclasses
import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import faiss

from unreel.errors import InputError
from unreel.indexing.index.approximate.disk_codes import read_mapped
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.checksums import new_digest
from unreel.io.text import parse_json

MAGIC, VERSION = b"unreel index ", b"00001\n"
FOOTER = struct.Struct("<Q19s")
REBUILD_HINT = "build the index again from its embeddings"


@dataclass(frozen=True)
class IndexDescription:
    """Rows, kind and cells of an index, the measured recall@10, the fingerprint of its vectors, the hash of the file
    that holds them, and the names of the store's parts that it was built of; "" and () for one of an earlier version.
    `candidates` are ranked anew by their vectors; 0 where codes alone rank.
    """

    rows: int
    dim: int
    kind: str
    nlist: int = 1
    nprobe: int = 1
    recall: float = 1.0
    num_queries: int = 0
    vectors_fingerprint: str = ""  # `built_of` in JSON
    vectors_hash: str = ""
    parts: tuple[str, ...] = ()
    candidates: int = 0

    @property
    def is_approximate(self) -> bool:
        """Whether a search may miss rows: not where all are compared."""
        return self.kind != "flat"

    def describe_recall(self) -> str:
        """How much of the nearest a search finds, for people; "" where it finds all.

        >>> IndexDescription(10**6, 128, "IVF-SQ8", recall=0.9781).describe_recall()
        'approximate: finds 97 of 100 of the nearest 10'
        """
        share = math.floor(100 * self.recall + 1e-6)
        return f"approximate: finds {share} of 100 of the nearest 10" if self.is_approximate else ""

    def __str__(self) -> str:
        size = f"{self.rows} rows of {self.dim} numbers, {self.kind}"
        if self.kind == "flat":
            return f"{size}: exact"
        cells = f"{self.nprobe} of {self.nlist} cells searched"
        if self.candidates:
            cells += f", the best {self.candidates} ranked anew by their vectors"
        return f"{size}: {cells}; recall@10 {self.recall:.3f} on {self.num_queries} queries out of these rows"


def write_index(path: Path, index: faiss.Index, description: IndexDescription) -> None:
    """Write an index, whole or not at all. Raises DiskError."""
    with disk_errors(
        path, "the index can't be written", errors=(OSError, RuntimeError)
    ):  # FAISS: RuntimeError for a full disk
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            faiss.write_index(index, str(temporary))
            with temporary.open("r+b") as file:
                checksum = _compute_checksum(file, temporary.stat().st_size)
                text = json.dumps({**_to_json(description), "checksum": checksum}).encode()
                file.write(text + FOOTER.pack(len(text), MAGIC + VERSION))


def read_index(path: Path, fingerprint: str) -> tuple[faiss.Index, IndexDescription]:
    """An index and its description. Raises InputError unless it is whole, of this version and of this fingerprint."""
    description = read_description(path)
    if description.vectors_fingerprint != fingerprint:
        raise InputError(f"{path}: the index is of other embeddings ({description.rows} rows) than these", REBUILD_HINT)
    try:
        index = read_mapped(str(path)) if description.candidates else faiss.read_index(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: the index can't be read ({str(error).splitlines()[0]}); {REBUILD_HINT}") from error
    if (index.ntotal, index.d) != (description.rows, description.dim):
        raise InputError(f"{path}: the index holds {index.ntotal} rows, not {description.rows}; {REBUILD_HINT}")
    return index, description


def read_description(path: Path) -> IndexDescription:
    """The description of an index. Raises InputError unless the file is whole and of this version."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: no index to read there ({error.strerror}); {REBUILD_HINT}") from error
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - FOOTER.size))
        tail = file.read()
        if len(tail) < FOOTER.size or not tail[8:].startswith(MAGIC):
            raise InputError(f"{path}: not an index of unreel, or half of one; {REBUILD_HINT}")
        length, mark = FOOTER.unpack(tail)
        if mark != MAGIC + VERSION:
            version = mark.removeprefix(MAGIC).decode(errors="replace").strip()
            raise InputError(
                f"{path}: an index of version {version}, this unreel reads {VERSION.decode().strip()}; {REBUILD_HINT}"
            )
        begin = size - FOOTER.size - length
        try:
            file.seek(begin)
            fields = parse_json(file.read(length))
            file.seek(0)
            is_whole = fields.pop("checksum") == _compute_checksum(file, begin)
            parts = tuple(map(str, fields.pop("parts", ())))
            description = IndexDescription(vectors_fingerprint=fields.pop("built_of", ""), parts=parts, **fields)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: the index's description can't be read ({error}); {REBUILD_HINT}") from error
    if not is_whole:
        raise InputError(f"{path}: the index is damaged, its checksum is another; {REBUILD_HINT}")
    return description


def _to_json(description: IndexDescription) -> dict[str, Any]:
    """Its fields; the key of the fingerprint is that of earlier versions."""
    fields = dataclasses.asdict(description)
    return fields | {"built_of": fields.pop("vectors_fingerprint")}


def _compute_checksum(file: BinaryIO, length: int) -> str:
    """BLAKE2 of the next `length` bytes, 128 bits in hex."""
    digest = new_digest()
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()
