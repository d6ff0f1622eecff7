"""A packed corpus: where each piece lies, and its bytes, from this disk or from afar.

Whoever opens videos asks here and gets the bytes of exactly one piece, compared with the checksum in the index before
anybody decodes them.
"""

import bisect
import io
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import InputError, UnreelError, VideoError
from unreel.io import remote
from unreel.io.checksums import hash_bytes, hash_file
from unreel.io.disk_cache import open_piece_cache
from unreel.video.sources.paths import (
    INDEX_FILE,
    PACK_FILE,
    PIECE_SUFFIX,
    absolute_path,
    is_piece,
    is_remote,
    normalize_path,
    split_piece_path,
)

LAYOUT_VERSION = 1  # of the layout
LOOKUP_COLUMNS = ("key", "shard", "offset", "size_bytes", "checksum")
MAX_RECENT_BYTES = 32 * 2**20  # pieces that a thread keeps, so that index and frames of a draw cost one read
_thread_cache = threading.local()
_verified_pieces: set[tuple[str, int, str, int]] = set()


class PieceLocation(NamedTuple):
    """Where the bytes of a piece are, and their blake2b."""

    path: str
    shard: str
    offset: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True, eq=False)
class PackedCorpus:
    """What a packed corpus says of itself: `about` is its pack.json, `lookup` what finds pieces, ascending by key.

    The rest of the index is read when somebody asks for it: a loader process never does. `index` is its file, or what
    came from afar.
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
        at = bisect.bisect_left(keys, key, key=lambda cell: cell.as_py())
        if at == len(self) or keys[at].as_py() != key:
            raise KeyError(key)
        return at

    def get_value(self, row: int, column: str) -> Any:
        return (self.lookup_table if column in LOOKUP_COLUMNS else self.index_table)[column][row].as_py()

    def piece_path(self, row: int) -> str:
        return f"{self.root}/{self.get_value(row, 'shard')}#{self.get_value(row, 'key')}{PIECE_SUFFIX}"

    def get_column(self, name: str) -> list[Any]:
        """A column of the index as Python values."""
        values: list[Any] = (self.lookup_table if name in LOOKUP_COLUMNS else self.index_table)[name].to_pylist()
        return values


def open_packed_corpus(source: str | Path) -> PackedCorpus:
    """Index and description of a packed corpus, kept for the life of the process. Raises InputError."""
    root = absolute_path(source).rstrip("/")
    if is_remote(root):
        open_piece_cache()  # a wrong setting is told now rather than at the first piece
        return _load_packed_corpus(root, 0)
    try:
        return _load_packed_corpus(root, os.stat(os.path.join(root, INDEX_FILE)).st_mtime_ns)
    except OSError as error:
        raise InputError(f"{root}: no index of a packed corpus ({error.strerror}). Is `unreel pack` done?") from error


@lru_cache(maxsize=8)
def _load_packed_corpus(root: str, _mtime_ns: int) -> PackedCorpus:
    try:
        about = json.loads(read_corpus_file(root, PACK_FILE))
        index = read_corpus_file(root, INDEX_FILE) if is_remote(root) else os.path.join(root, INDEX_FILE)
        table = _read_index(index, LOOKUP_COLUMNS)
        version, count = about["layout"], about["pieces"]
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
    if count != len(table):
        raise InputError(
            f"{root}: {INDEX_FILE} has {len(table)} pieces, {PACK_FILE} says {count}; copy the corpus again"
        )
    return PackedCorpus(root, about, table, index)


def _read_index(index: str | bytes, columns: Sequence[str] | None) -> pa.Table:
    file = index if isinstance(index, str) else io.BytesIO(index)
    names = None if columns is None else list(columns)
    return pq.read_table(file, columns=names).combine_chunks()


def read_corpus_file(root: str, name: str) -> bytes:
    """A file of a packed corpus beside its shards, whole. Raises OSError."""
    if is_remote(root):
        return remote.read_bytes(f"{root}/{name}")
    return Path(root, name).read_bytes()


def locate_piece(path: str | Path) -> PieceLocation:
    """Where a piece lies. Raises VideoError: missing, unreadable."""
    text, (root, name, key) = normalize_path(path), split_piece_path(path)
    try:
        corpus = open_packed_corpus(root)
        row = corpus.find_row(key)
    except InputError as error:
        raise VideoError(text, "unreadable", str(error)) from error
    except KeyError as error:
        raise VideoError(text, "missing", f"the index of {root} has no such piece") from error
    shard, offset, size, checksum = (corpus.get_value(row, n) for n in ("shard", "offset", "size_bytes", "checksum"))
    if shard != name:
        raise VideoError(text, "missing", f"the index of {root} has it in {shard}")
    return PieceLocation(text, f"{corpus.root}/{shard}", offset, size, checksum)


def read_piece(path: str | Path) -> bytes:
    """The bytes of a piece, an mp4 file; exactly those that were packed.

    Raises VideoError: missing, unreadable, truncated, damaged.
    """
    piece = locate_piece(path)
    recent: OrderedDict[str, bytes] = _thread_cache.__dict__.setdefault("recent", OrderedDict())
    data = recent.pop(piece.checksum, None) or load_piece(piece)
    recent[piece.checksum] = data
    while len(recent) > 1 and sum(map(len, recent.values())) > MAX_RECENT_BYTES:
        recent.popitem(last=False)
    return data


def clear_recent_pieces() -> None:
    """Keep no bytes in memory any more; for measuring."""
    _thread_cache.__dict__.pop("recent", None)


def load_piece(piece: PieceLocation) -> bytes:
    """`read_piece` without remembering: from disk or cache or afar, checked. Raises VideoError."""
    return _load_remote(piece) if is_remote(piece.shard) else _load_local(piece)


def find_damaged_pieces(
    corpus: PackedCorpus, check_bytes: bool, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, VideoError]:
    """What is wrong with which piece: every one compared with its checksum, or the length of shards on this disk."""
    found: dict[str, VideoError] = {}
    names = ("shard", "key", "offset", "size_bytes", "checksum")
    ends: dict[str, int] = {}
    for row, (shard, key, offset, size, hash_) in enumerate(zip(*map(corpus.get_column, names), strict=True)):
        piece = PieceLocation(
            f"{corpus.root}/{shard}#{key}{PIECE_SUFFIX}", f"{corpus.root}/{shard}", offset, size, hash_
        )
        try:
            if check_bytes:
                load_piece(piece)
            elif not is_remote(corpus.root):
                if shard not in ends:
                    ends[shard] = os.path.getsize(piece.shard) if os.path.exists(piece.shard) else -1
                _check_shard_length(piece, ends[shard])
        except VideoError as error:
            found[piece.path] = error
        if on_progress:
            on_progress(row + 1, len(corpus))
    return found


def _check_shard_length(piece: PieceLocation, shard_bytes: int) -> None:
    """Raises VideoError when the shard is missing (-1) or ends before the piece does."""
    if shard_bytes < 0:
        raise VideoError(piece.path, "missing", "no such shard")
    if shard_bytes < piece.offset + piece.size_bytes:
        raise _build_truncated_error(piece, shard_bytes)


def _build_truncated_error(piece: PieceLocation, shard_bytes: int) -> VideoError:
    name, end = piece.shard.rpartition("/")[2], piece.offset + piece.size_bytes
    return VideoError(piece.path, "truncated", f"the piece ends at byte {end} of {name}, the shard at {shard_bytes}")


def _load_local(piece: PieceLocation) -> bytes:
    """Checked when this process reads it for the first time, and again when the shard has changed since."""
    try:
        with open(piece.shard, "rb") as shard:
            changed = os.fstat(shard.fileno()).st_mtime_ns
            shard.seek(piece.offset)
            data = shard.read(piece.size_bytes)
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        raise VideoError(piece.path, reason, error.strerror or str(error)) from error
    seen = (piece.shard, piece.offset, piece.checksum, changed)
    if len(data) != piece.size_bytes or seen not in _verified_pieces:
        _verify_checksum(piece, data)
        _verified_pieces.add(seen)
    return data


def _load_remote(piece: PieceLocation) -> bytes:
    """From the cache on this disk, else by one range read. What is wrong in either is fetched once more."""
    cache = open_piece_cache()
    kept = cache.get(piece.checksum)
    if kept is not None and hash_bytes(kept) == piece.checksum:
        return kept
    try:
        data = _fetch_range(piece)
        if hash_bytes(data) != piece.checksum:  # an answer may be damaged on its way, a shard is when it stays so
            data = _fetch_range(piece)
    except FileNotFoundError as error:
        raise VideoError(piece.path, "missing", "no such shard there") from error
    except (OSError, UnreelError) as error:
        raise VideoError(piece.path, "unreadable", str(error)) from error
    _verify_checksum(piece, data)
    cache.put(piece.checksum, data)
    return data


def _fetch_range(piece: PieceLocation) -> bytes:
    return remote.read_bytes(piece.shard, piece.offset, piece.offset + piece.size_bytes)


def _verify_checksum(piece: PieceLocation, data: bytes) -> None:
    if 0 < len(data) < piece.size_bytes:
        raise _build_truncated_error(piece, piece.offset + len(data))
    if not data:
        raise VideoError(piece.path, "truncated", f"the shard ends before byte {piece.offset}, where it begins")
    if hash_bytes(data) != piece.checksum:
        name = piece.shard.rpartition("/")[2]
        raise VideoError(piece.path, "damaged", f"{name} does not hold what {INDEX_FILE} says; copy or pack it again")


def hash_content(path: str | Path) -> str:
    """blake2b of a file's bytes; for a piece that is the whole of a video, of the original's. Raises OSError.

    So a video and what was packed of it are known as the same.
    """
    if not is_piece(path):
        return hash_file(path)
    hash_, start_s, whole, _ = _read_source_info(path)
    return hash_ if whole else f"{hash_}@{start_s:.6f}"


def get_content_bytes(path: str | Path) -> int:
    """Size of the file that `content_hash` tells of. Raises OSError."""
    return int(_read_source_info(path)[3]) if is_piece(path) else os.path.getsize(path)


def _read_source_info(path: str | Path) -> tuple[str, float, bool, int]:
    """Hash of the original, where the piece begins in it, whether it is the whole of it, and the original's size."""
    root, _, key = split_piece_path(path)
    try:
        corpus = open_packed_corpus(root)
        row = corpus.find_row(key)
    except (InputError, KeyError) as error:
        raise FileNotFoundError(normalize_path(path)) from error
    names: Sequence[str] = ("source_hash", "start_s", "whole", "source_bytes")
    hash_, start_s, whole, size = (corpus.get_value(row, name) for name in names)
    return hash_, start_s, whole, size
