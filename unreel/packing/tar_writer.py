"""Writing tar shards in WebDataset's convention (KEY.mp4, KEY.json); the same pieces give the same bytes."""

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.video.sources.paths import PIECE_SUFFIX

TAR_BLOCK_BYTES = 512


def format_shard_name(number: int) -> str:
    return f"{number:05d}.tar"


@dataclass
class TarWriter:
    """A shard being written to a temporary path; `rows` list its pieces."""

    temporary_path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tar_file = tarfile.open(self.temporary_path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # until `close`

    @property
    def size_bytes(self) -> int:
        return int(self.tar_file.offset)

    def add_piece(self, row: dict[str, Any], data: bytes, metadata: dict[str, Any]) -> None:
        """Append a piece and its metadata. The row gets the offset of the piece's first byte in the shard."""
        row["offset"] = self.size_bytes + TAR_BLOCK_BYTES  # the names fit into a header of one block
        self._add_file(f"{row['key']}{PIECE_SUFFIX}", data)
        self._add_file(f"{row['key']}.json", json.dumps(metadata, ensure_ascii=False, sort_keys=True).encode())
        self.rows.append(row)

    def _add_file(self, name: str, data: bytes) -> None:
        assert name.isascii() and len(name) < 100, name
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(data), 0o644
        self.tar_file.addfile(header, io.BytesIO(data))

    def close(self) -> None:
        """Complete the shard, still at its temporary path."""
        self.tar_file.close()
