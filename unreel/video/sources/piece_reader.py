"""The bytes of one piece of a packed corpus, from this disk or remote, compared with its checksum before any decoding."""

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from unreel.errors import InputError, UnreelError, VideoError
from unreel.io import remote
from unreel.io.checksums import hash_bytes
from unreel.io.disk_cache import open_piece_cache
from unreel.video.sources.packed_corpus import open_packed_corpus
from unreel.video.sources.paths import INDEX_FILE, is_remote, normalize_path, split_piece_path

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
        raise build_truncated_error(piece, piece.offset + len(data))
    if not data:
        raise VideoError(piece.path, "truncated", f"the shard ends before byte {piece.offset}, where it begins")
    if hash_bytes(data) != piece.checksum:
        name = piece.shard.rpartition("/")[2]
        raise VideoError(piece.path, "damaged", f"{name} does not hold what {INDEX_FILE} says; copy or pack it again")


def build_truncated_error(piece: PieceLocation, shard_bytes: int) -> VideoError:
    name, end = piece.shard.rpartition("/")[2], piece.offset + piece.size_bytes
    return VideoError(piece.path, "truncated", f"the piece ends at byte {end} of {name}, the shard at {shard_bytes}")
