"""A packed corpus: where each piece lies, and its bytes, from this disk or from afar.

Whoever opens videos asks here and gets the bytes of exactly one piece, compared with the checksum in the index before
anybody decodes them.
"""

import bisect
import hashlib
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
from unreel.video import remote
from unreel.video.addresses import ENDING, INDEX, PACK, absolute, is_piece, is_remote, parts, spelled
from unreel.video.disk_cache import piece_cache

VERSION = 1  # of the layout
LOOKUP = ("key", "shard", "offset", "size_bytes", "checksum")
RECENT_BYTES = 32 * 2**20  # pieces that a thread keeps, so that index and frames of a draw cost one read
_thread = threading.local()
_checked: set[tuple[str, int, str, int]] = set()


class Piece(NamedTuple):
    """Where the bytes of a piece are, and their blake2b."""

    address: str
    shard: str
    offset: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """What a packed corpus says of itself: `about` is its pack.json, `lookup` what finds pieces, ascending by key.

    The rest of the index is read when somebody asks for it: a loader process never does. `index` is its file, or what
    came from afar.
    """

    root: str
    about: dict[str, Any]
    lookup: pa.Table
    index: str | bytes

    @cached_property
    def table(self) -> pa.Table:
        """All columns of the index."""
        return _table(self.index, None)

    def __len__(self) -> int:
        return len(self.lookup)

    def row(self, key: str) -> int:
        """The row of a key. Raises KeyError."""
        keys: Any = self.lookup["key"].chunk(0) if len(self) else []
        at = bisect.bisect_left(keys, key, key=lambda cell: cell.as_py())
        if at == len(self) or keys[at].as_py() != key:
            raise KeyError(key)
        return at

    def value(self, row: int, column: str) -> Any:
        return (self.lookup if column in LOOKUP else self.table)[column][row].as_py()

    def address(self, row: int) -> str:
        return f"{self.root}/{self.value(row, 'shard')}#{self.value(row, 'key')}{ENDING}"

    def column(self, name: str) -> list[Any]:
        """A column of the index as Python values."""
        values: list[Any] = (self.lookup if name in LOOKUP else self.table)[name].to_pylist()
        return values


def open_corpus(source: str | Path) -> Corpus:
    """Index and description of a packed corpus, kept for the life of the process. Raises InputError."""
    root = absolute(source).rstrip("/")
    if is_remote(root):
        piece_cache()  # a wrong setting is told now rather than at the first piece
        return _corpus(root, 0)
    try:
        return _corpus(root, os.stat(os.path.join(root, INDEX)).st_mtime_ns)
    except OSError as error:
        raise InputError(f"{root}: no index of a packed corpus ({error.strerror}). Is `unreel pack` done?") from error


@lru_cache(maxsize=8)
def _corpus(root: str, _changed: int) -> Corpus:
    try:
        about = json.loads(read_file(root, PACK))
        index = read_file(root, INDEX) if is_remote(root) else os.path.join(root, INDEX)
        table = _table(index, LOOKUP)
        version, count = about["layout"], about["pieces"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{root}: no packed corpus here ({error.filename or error}); `unreel pack` makes one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{root}: the index of the packed corpus can't be read ({error})") from error
    if version != VERSION:
        raise InputError(f"{root}: packed in layout {version}, this unreel reads layout {VERSION}; pack it again")
    if count != len(table):
        raise InputError(f"{root}: {INDEX} has {len(table)} pieces, {PACK} says {count}; copy the corpus again")
    return Corpus(root, about, table, index)


def _table(index: str | bytes, columns: Sequence[str] | None) -> pa.Table:
    file = index if isinstance(index, str) else io.BytesIO(index)
    names = None if columns is None else list(columns)
    return pq.read_table(file, columns=names).combine_chunks()


def read_file(root: str, name: str) -> bytes:
    """A file of a packed corpus beside its shards, whole. Raises OSError."""
    if is_remote(root):
        return remote.read(f"{root}/{name}")
    return Path(root, name).read_bytes()


def find_piece(address: str | Path) -> Piece:
    """Where a piece lies. Raises VideoError: missing, unreadable."""
    text, (root, name, key) = spelled(address), parts(address)
    try:
        corpus = open_corpus(root)
        row = corpus.row(key)
    except InputError as error:
        raise VideoError(text, "unreadable", str(error)) from error
    except KeyError as error:
        raise VideoError(text, "missing", f"the index of {root} has no such piece") from error
    shard, offset, size, checksum = (corpus.value(row, n) for n in ("shard", "offset", "size_bytes", "checksum"))
    if shard != name:
        raise VideoError(text, "missing", f"the index of {root} has it in {shard}")
    return Piece(text, f"{corpus.root}/{shard}", offset, size, checksum)


def read_piece(address: str | Path) -> bytes:
    """The bytes of a piece, an mp4 file; exactly those that were packed.

    Raises VideoError: missing, unreadable, truncated, damaged.
    """
    piece = find_piece(address)
    recent: OrderedDict[str, bytes] = _thread.__dict__.setdefault("recent", OrderedDict())
    data = recent.pop(piece.checksum, None) or load_piece(piece)
    recent[piece.checksum] = data
    while len(recent) > 1 and sum(map(len, recent.values())) > RECENT_BYTES:
        recent.popitem(last=False)
    return data


def forget_pieces() -> None:
    """Keep no bytes in memory any more; for measuring."""
    _thread.__dict__.pop("recent", None)


def load_piece(piece: Piece) -> bytes:
    """`read_piece` without remembering: from disk or cache or afar, checked. Raises VideoError."""
    return _from_afar(piece) if is_remote(piece.shard) else _from_disk(piece)


def faults(corpus: Corpus, full: bool, on_progress: Callable[[int, int], None] | None = None) -> dict[str, VideoError]:
    """What is wrong with which piece: every one compared with its checksum, or the length of shards on this disk."""
    found: dict[str, VideoError] = {}
    names = ("shard", "key", "offset", "size_bytes", "checksum")
    ends: dict[str, int] = {}
    for row, (shard, key, offset, size, hash_) in enumerate(zip(*map(corpus.column, names), strict=True)):
        piece = Piece(f"{corpus.root}/{shard}#{key}{ENDING}", f"{corpus.root}/{shard}", offset, size, hash_)
        try:
            if full:
                load_piece(piece)
            elif not is_remote(corpus.root):
                if shard not in ends:
                    ends[shard] = os.path.getsize(piece.shard) if os.path.exists(piece.shard) else -1
                _reach(piece, ends[shard])
        except VideoError as error:
            found[piece.address] = error
        if on_progress:
            on_progress(row + 1, len(corpus))
    return found


def _reach(piece: Piece, shard_bytes: int) -> None:
    """Raises VideoError when the shard is missing (-1) or ends before the piece does."""
    if shard_bytes < 0:
        raise VideoError(piece.address, "missing", "no such shard")
    if shard_bytes < piece.offset + piece.size_bytes:
        raise _cut(piece, shard_bytes)


def _cut(piece: Piece, has_bytes: int) -> VideoError:
    name, end = piece.shard.rpartition("/")[2], piece.offset + piece.size_bytes
    return VideoError(piece.address, "truncated", f"the piece ends at byte {end} of {name}, the shard at {has_bytes}")


def _from_disk(piece: Piece) -> bytes:
    """Checked when this process reads it for the first time, and again when the shard has changed since."""
    try:
        with open(piece.shard, "rb") as shard:
            changed = os.fstat(shard.fileno()).st_mtime_ns
            shard.seek(piece.offset)
            data = shard.read(piece.size_bytes)
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        raise VideoError(piece.address, reason, error.strerror or str(error)) from error
    seen = (piece.shard, piece.offset, piece.checksum, changed)
    if len(data) != piece.size_bytes or seen not in _checked:
        _compare(piece, data)
        _checked.add(seen)
    return data


def _from_afar(piece: Piece) -> bytes:
    """From the cache on this disk, else by one range read. What is wrong in either is fetched once more."""
    cache = piece_cache()
    kept = cache.get(piece.checksum)
    if kept is not None and checksum(kept) == piece.checksum:
        return kept
    try:
        data = _fetch(piece)
        if checksum(data) != piece.checksum:  # an answer may be damaged on its way, a shard is when it stays so
            data = _fetch(piece)
    except FileNotFoundError as error:
        raise VideoError(piece.address, "missing", "no such shard there") from error
    except (OSError, UnreelError) as error:
        raise VideoError(piece.address, "unreadable", str(error)) from error
    _compare(piece, data)
    cache.put(piece.checksum, data)
    return data


def _fetch(piece: Piece) -> bytes:
    return remote.read(piece.shard, piece.offset, piece.offset + piece.size_bytes)


def _compare(piece: Piece, data: bytes) -> None:
    if 0 < len(data) < piece.size_bytes:
        raise _cut(piece, piece.offset + len(data))
    if not data:
        raise VideoError(piece.address, "truncated", f"the shard ends before byte {piece.offset}, where it begins")
    if checksum(data) != piece.checksum:
        name = piece.shard.rpartition("/")[2]
        raise VideoError(piece.address, "damaged", f"{name} does not hold what {INDEX} says; copy or pack it again")


def checksum(data: bytes) -> str:
    """blake2b, 32 hexadecimal digits, as of whole files in a manifest."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def content_hash(path: str | Path) -> str:
    """blake2b of a file's bytes; for a piece that is the whole of a video, of the original's. Raises OSError.

    So a video and what was packed of it are known as the same.
    """
    if not is_piece(path):
        with open(path, "rb") as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    hash_, start_s, whole, _ = _origin(path)
    return hash_ if whole else f"{hash_}@{start_s:.6f}"


def content_bytes(path: str | Path) -> int:
    """Size of the file that `content_hash` tells of. Raises OSError."""
    return int(_origin(path)[3]) if is_piece(path) else os.path.getsize(path)


def _origin(path: str | Path) -> tuple[str, float, bool, int]:
    """Hash of the original, where the piece begins in it, whether it is the whole of it, and the original's size."""
    root, _, key = parts(path)
    try:
        corpus = open_corpus(root)
        row = corpus.row(key)
    except (InputError, KeyError) as error:
        raise FileNotFoundError(spelled(path)) from error
    names: Sequence[str] = ("source_hash", "start_s", "whole", "source_bytes")
    hash_, start_s, whole, size = (corpus.value(row, name) for name in names)
    return hash_, start_s, whole, size
