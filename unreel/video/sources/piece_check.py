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
    """Errors by piece path: each piece compared with its checksum, or else the lengths of local shards checked."""
    errors: dict[str, VideoError] = {}
    names = ("shard", "key", "offset", "size_bytes", "checksum")
    shard_bytes: dict[str, int] = {}
    for row, (shard, key, offset, size, checksum) in enumerate(zip(*map(corpus.get_column, names), strict=True)):
        piece = PieceLocation(
            f"{corpus.root}/{shard}#{key}{PIECE_SUFFIX}", f"{corpus.root}/{shard}", offset, size, checksum
        )
        try:
            if check_bytes:
                load_piece(piece)
            elif not is_remote(corpus.root):
                if shard not in shard_bytes:
                    shard_bytes[shard] = os.path.getsize(piece.shard) if os.path.exists(piece.shard) else -1
                _check_shard_length(piece, shard_bytes[shard])
        except VideoError as error:
            errors[piece.path] = error
        if on_progress:
            on_progress(row + 1, len(corpus))
    return errors


def _check_shard_length(piece: PieceLocation, shard_bytes: int) -> None:
    """Raises VideoError when the shard is missing (-1) or ends before the piece does."""
    if shard_bytes < 0:
        raise VideoError(piece.path, "missing", "no such shard")
    if shard_bytes < piece.offset + piece.size_bytes:
        raise build_truncated_error(piece, shard_bytes)
