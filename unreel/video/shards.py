"""Writing tar shards in the convention of WebDataset (KEY.mp4, KEY.json): whole or not at all, each time the same."""

import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.errors import DiskError

BLOCK = 512


def shard_name(number: int) -> str:
    return f"{number:05d}.tar"


@dataclass
class Shard:
    """A shard that grows aside; `rows` say what is in it."""

    aside: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tar = tarfile.open(self.aside, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # until `close`

    @property
    def size_bytes(self) -> int:
        return int(self.tar.offset)

    def add(self, row: dict[str, Any], data: bytes, about: dict[str, Any]) -> None:
        """A piece and what is known of it. The row gets the offset of the piece's first byte in the shard."""
        row["offset"] = self.size_bytes + BLOCK  # names are short enough for a head of one block
        self._file(f"{row['key']}.mp4", data)
        self._file(f"{row['key']}.json", json.dumps(about, ensure_ascii=False, sort_keys=True).encode())
        self.rows.append(row)

    def _file(self, name: str, data: bytes) -> None:
        assert name.isascii() and len(name) < 100, name
        about = tarfile.TarInfo(name)
        about.size, about.mode = len(data), 0o644
        self.tar.addfile(about, io.BytesIO(data))

    def close(self) -> None:
        """Complete and on the disk, still aside."""
        self.tar.close()
        with self.aside.open("rb") as written:
            os.fsync(written.fileno())


def write_whole(path: Path, data: bytes) -> None:
    """A file that is there with all its bytes or not at all. Raises DiskError."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise DiskError(f"{path}: can't be written ({error.strerror or error})") from error
    finally:
        aside.unlink(missing_ok=True)
