"""Which pieces of a packed corpus are damaged or missing."""

import os
from collections.abc import Callable

from unreel.errors import VideoError
from unreel.video.sources.packed_corpus import PackedCorpus
from unreel.video.sources.paths import PIECE_SUFFIX, is_remote
from unreel.video.sources.piece_reader import PieceLocation, build_truncated_error, load_piece


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
        raise build_truncated_error(piece, shard_bytes)
