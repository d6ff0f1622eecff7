"""A packed corpus: its description, and the index that says where each piece lies."""

import bisect
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import InputError
from unreel.io import remote
from unreel.io.disk_cache import open_disk_cache
from unreel.io.text import parse_json
from unreel.video.sources.paths import INDEX_FILE, PACK_FILE, PIECE_SUFFIX, absolute_path, is_remote

LAYOUT_VERSION = 1  # of the files of a packed corpus
LOOKUP_COLUMNS = ("key", "shard", "offset", "size_bytes", "checksum")


@dataclass(frozen=True, eq=False)
class PackedCorpus:
    """A packed corpus: `description` is its pack.json, `lookup_table` the columns that find pieces, ascending by key.

    The other columns of the index are read at first use; loader processes never need them. `index_file` is the path of
    the index, or its bytes where the corpus is remote.
    """

    root: str
    description: dict[str, Any]
    lookup_table: pa.Table
    index_file: str | bytes

    @cached_property
    def index_table(self) -> pa.Table:
        """All columns of the index."""
        return _read_index(self.index_file, None)

    def __len__(self) -> int:
        return len(self.lookup_table)

    def find_row(self, key: str) -> int:
        """The row of a key. Raises KeyError."""
        keys: Any = self.lookup_table["key"].chunk(0) if len(self) else []
        row = bisect.bisect_left(keys, key, key=lambda cell: cell.as_py())
        if row == len(self) or keys[row].as_py() != key:
            raise KeyError(key)
        return row

    def get_value(self, row: int, column: str) -> Any:
        """A cell of the index as a Python value."""
        return (self.lookup_table if column in LOOKUP_COLUMNS else self.index_table)[column][row].as_py()

    def piece_path(self, row: int) -> str:
        """The address of a piece."""
        return f"{self.root}/{self.get_value(row, 'shard')}#{self.get_value(row, 'key')}{PIECE_SUFFIX}"

    def get_column(self, name: str) -> list[Any]:
        """A column of the index as Python values."""
        values: list[Any] = (self.lookup_table if name in LOOKUP_COLUMNS else self.index_table)[name].to_pylist()
        return values


def open_packed_corpus(source: str | Path) -> PackedCorpus:
    """Read the index and description of a packed corpus; cached until the index changes. Raises InputError."""
    root = absolute_path(source).rstrip("/")
    if is_remote(root):
        open_disk_cache()  # so that a wrong setting is reported now, not at the first piece
        return _load_packed_corpus(root, 0)
    try:
        return _load_packed_corpus(root, os.stat(os.path.join(root, INDEX_FILE)).st_mtime_ns)
    except OSError as error:
        raise InputError(
            f"{root}: no index of a packed corpus ({error.strerror}); if `unreel pack` was interrupted, run it again"
        ) from error


@lru_cache(maxsize=8)
def _load_packed_corpus(root: str, _mtime_ns: int) -> PackedCorpus:
    try:
        description = parse_json(read_corpus_file(root, PACK_FILE))
        index = read_corpus_file(root, INDEX_FILE) if is_remote(root) else os.path.join(root, INDEX_FILE)
        table = _read_index(index, LOOKUP_COLUMNS)
        version, num_pieces = description["layout"], description["pieces"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{root}: no packed corpus here ({error.filename or error}); `unreel pack` makes one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{root}: the index of the packed corpus can't be read ({error})") from error
    if version != LAYOUT_VERSION:
        raise InputError(
            f"{root}: packed in layout {version}, this unreel reads layout {LAYOUT_VERSION}; pack it again"
        )
    if num_pieces != len(table):
        raise InputError(
            f"{root}: {INDEX_FILE} has {len(table)} pieces, {PACK_FILE} says {num_pieces}; copy the corpus again"
        )
    return PackedCorpus(root, description, table, index)


def _read_index(index: str | bytes, columns: Sequence[str] | None) -> pa.Table:
    file = index if isinstance(index, str) else io.BytesIO(index)
    names = None if columns is None else list(columns)
    return pq.read_table(file, columns=names).combine_chunks()


def read_corpus_file(root: str, name: str) -> bytes:
    """The bytes of a file that lies beside the shards. Raises OSError."""
    if is_remote(root):
        return remote.read_bytes(f"{root}/{name}")
    return Path(root, name).read_bytes()
