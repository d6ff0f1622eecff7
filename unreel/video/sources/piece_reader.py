"""Read one piece of a packed corpus, local or remote; its bytes are compared with the checksum in the index."""

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from unreel.errors import InputError, UnreelError, VideoError
from unreel.io import remote
from unreel.io.checksums import hash_bytes
from unreel.io.disk_cache import open_disk_cache
from unreel.video.sources.packed_corpus import open_packed_corpus
from unreel.video.sources.paths import INDEX_FILE, is_remote, normalize_path, split_piece_path

MAX_RECENT_BYTES = 32 * 2**20  # pieces that a thread keeps: index and frames of a clip then cost one read
_thread_cache = threading.local()
_verified_pieces: set[tuple[str, int, str, int]] = set()


class PieceLocation(NamedTuple):
    """Where the bytes of a piece are, and their checksum (blake2b)."""

    path: str
    shard: str
    offset: int
    size_bytes: int
    checksum: str


def locate_piece(path: str | Path) -> PieceLocation:
    """Look up a piece in the index of its corpus. Raises VideoError: missing, unreadable."""
    address, (root, shard_name, key) = normalize_path(path), split_piece_path(path)
    try:
        corpus = open_packed_corpus(root)
        row = corpus.find_row(key)
    except InputError as error:
        raise VideoError(address, "unreadable", str(error)) from error
    except KeyError as error:
        raise VideoError(address, "missing", f"the index of {root} has no such piece") from error
    shard, offset, size, checksum = (corpus.get_value(row, n) for n in ("shard", "offset", "size_bytes", "checksum"))
    if shard != shard_name:
        raise VideoError(address, "missing", f"the index of {root} has it in {shard}")
    return PieceLocation(address, f"{corpus.root}/{shard}", offset, size, checksum)


def read_piece(path: str | Path) -> bytes:
    """The bytes of a piece, an mp4 file, as they were packed; the last pieces of a thread are cached.

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
    """Forget the cached pieces of this thread; for measuring."""
    _thread_cache.__dict__.pop("recent", None)


def load_piece(piece: PieceLocation) -> bytes:
    """`read_piece` without the cache in memory. Raises VideoError."""
    return _load_remote(piece) if is_remote(piece.shard) else _load_local(piece)


def _load_local(piece: PieceLocation) -> bytes:
    """From this disk; verified at the first read of this process, and again when the shard has changed."""
    try:
        with open(piece.shard, "rb") as shard:
            mtime_ns = os.fstat(shard.fileno()).st_mtime_ns
            shard.seek(piece.offset)
            data = shard.read(piece.size_bytes)
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        raise VideoError(piece.path, reason, error.strerror or str(error)) from error
    piece_version = (piece.shard, piece.offset, piece.checksum, mtime_ns)
    if len(data) != piece.size_bytes or piece_version not in _verified_pieces:
        _verify_checksum(piece, data)
        _verified_pieces.add(piece_version)
    return data


def _load_remote(piece: PieceLocation) -> bytes:
    """From the cache on this disk, else by one range request; damaged data is fetched once more."""
    cache = open_disk_cache()
    cached = cache.get(piece.checksum)
    if cached is not None and hash_bytes(cached) == piece.checksum:
        return cached
    try:
        data = _fetch_range(piece)
        if hash_bytes(data) != piece.checksum:  # damaged in transit, or a damaged shard
            data = _fetch_range(piece)
    except FileNotFoundError as error:
        raise VideoError(piece.path, "missing", "no such shard on the server") from error
    except (OSError, UnreelError) as error:
        raise VideoError(piece.path, "unreadable", str(error)) from error
    _verify_checksum(piece, data)
    cache.put(piece.checksum, data)
    return data


def _fetch_range(piece: PieceLocation) -> bytes:
    return remote.read_bytes(piece.shard, piece.offset, piece.offset + piece.size_bytes)


def _verify_checksum(piece: PieceLocation, data: bytes) -> None:
    """Raises VideoError: truncated, damaged."""
    if 0 < len(data) < piece.size_bytes:
        raise build_truncated_error(piece, piece.offset + len(data))
    if not data:
        raise VideoError(piece.path, "truncated", f"the piece begins at byte {piece.offset}, the shard ends before it")
    if hash_bytes(data) != piece.checksum:
        name = piece.shard.rpartition("/")[2]
        raise VideoError(
            piece.path, "damaged", f"{name} does not match its checksum in {INDEX_FILE}; copy or pack it again"
        )


def build_truncated_error(piece: PieceLocation, shard_bytes: int) -> VideoError:
    name, end = piece.shard.rpartition("/")[2], piece.offset + piece.size_bytes
    return VideoError(piece.path, "truncated", f"the piece ends at byte {end} of {name}, the shard at {shard_bytes}")
