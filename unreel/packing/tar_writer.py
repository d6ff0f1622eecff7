"""Writing tar shards in the convention of WebDataset (KEY.mp4, KEY.json): whole or not at all, each time the same."""

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.io.atomic_write import sync_path

TAR_BLOCK_BYTES = 512


def format_shard_name(number: int) -> str:
    return f"{number:05d}.tar"


@dataclass
class TarWriter:
    """A shard that grows aside; `rows` say what is in it."""

    temporary_path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tar_file = tarfile.open(self.temporary_path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # until `close`

    @property
    def size_bytes(self) -> int:
        return int(self.tar_file.offset)

    def add_piece(self, row: dict[str, Any], data: bytes, metadata: dict[str, Any]) -> None:
        """A piece and what is known of it. The row gets the offset of the piece's first byte in the shard."""
        row["offset"] = self.size_bytes + TAR_BLOCK_BYTES  # names are short enough for a head of one block
        self._add_file(f"{row['key']}.mp4", data)
        self._add_file(f"{row['key']}.json", json.dumps(metadata, ensure_ascii=False, sort_keys=True).encode())
        self.rows.append(row)

    def _add_file(self, name: str, data: bytes) -> None:
        assert name.isascii() and len(name) < 100, name
        about = tarfile.TarInfo(name)
        about.size, about.mode = len(data), 0o644
        self.tar_file.addfile(about, io.BytesIO(data))

    def close(self) -> None:
        """Complete and on the disk, still aside."""
        self.tar_file.close()
        sync_path(self.temporary_path)
