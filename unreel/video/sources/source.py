"""One way to open a video wherever its bytes are: a file on this disk, or a piece of a packed corpus, local or remote.

    source = open_source("corpus/00003.tar#000042.mp4")
    source.check().size_bytes, source.hash_content()

Nothing is read before it is asked for.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from unreel.errors import InputError, VideoError
from unreel.io.checksums import hash_bytes, hash_file
from unreel.video.sources.packed_corpus import open_packed_corpus
from unreel.video.sources.paths import is_piece, is_remote, is_synthetic, normalize_path, split_piece_path
from unreel.video.sources.piece_reader import locate_piece, read_piece


class FileVersion(NamedTuple):
    """What tells one state of a file from a later one, and its size."""

    version: str
    size_bytes: int


class ContentStat(NamedTuple):
    """Size of the content, and when it changed; 0 for a piece, whose index tells its hash at no cost."""

    size_bytes: int
    mtime_ns: int


class VideoSource(Protocol):
    """A video that can be opened; `path` is the file's path, or the address of the piece."""

    @property
    def path(self) -> str: ...

    @property
    def is_packed(self) -> bool: ...

    def check(self) -> FileVersion:
        """Make sure that there is a file. Raises VideoError: missing, unreadable, empty file, truncated, damaged."""

    def read_packed(self) -> bytes | None:
        """The bytes of a piece, an mp4 file; None for a file on this disk, which is opened by its path."""

    def get_content_stat(self) -> ContentStat:
        """Size and time of what `hash_content` hashes. Raises OSError."""

    def hash_content(self) -> str:
        """blake2b of the video's bytes, equal for a video and for a piece that is the whole of it. Raises OSError."""

    def is_deleted(self) -> bool:
        """Whether the file is not on this disk any more; a piece stays as long as its index names it."""

    def is_missing(self) -> bool:
        """Whether nothing can be read there: deleted, a link to nothing, or a shard that is not on this disk.

        Nothing is asked of other machines.
        """


@dataclass(frozen=True)
class LocalFile:
    """A video file on this disk."""

    path: str
    is_packed = False

    def check(self) -> FileVersion:
        try:
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):
                raise VideoError(self.path, "unreadable", "not a regular file")
            if status.st_size == 0:
                raise VideoError(self.path, "empty file")
            return FileVersion(str(status.st_mtime_ns), status.st_size)
        except FileNotFoundError as error:
            raise VideoError(self.path, "missing") from error
        except OSError as error:
            raise VideoError(self.path, "unreadable", error.strerror or str(error)) from error

    def read_packed(self) -> bytes | None:
        return None

    def get_content_stat(self) -> ContentStat:
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        return ContentStat(status.st_size, status.st_mtime_ns)

    def hash_content(self) -> str:
        return hash_file(self.path)

    def is_deleted(self) -> bool:
        return not os.path.lexists(self.path)

    def is_missing(self) -> bool:
        return not os.path.exists(self.path)


@dataclass(frozen=True)
class PackedPiece:
    """A piece of a packed corpus, local or remote. Its content is that of the original video."""

    path: str
    is_packed = True

    def check(self) -> FileVersion:
        read_piece(self.path)
        piece = locate_piece(self.path)
        return FileVersion(piece.checksum, piece.size_bytes)

    def read_packed(self) -> bytes | None:
        """Raises VideoError: missing, unreadable, truncated, damaged."""
        return read_piece(self.path)

    def get_content_stat(self) -> ContentStat:
        return ContentStat(int(self._read_original().size_bytes), 0)

    def hash_content(self) -> str:
        original = self._read_original()
        return original.content_hash if original.is_whole else f"{original.content_hash}@{original.start_s:.6f}"

    def is_deleted(self) -> bool:
        return False

    def is_missing(self) -> bool:
        root, shard, _ = split_piece_path(self.path)
        return not is_remote(root) and not os.path.exists(os.path.join(root, shard))

    def _read_original(self) -> "_Original":
        root, _, key = split_piece_path(self.path)
        try:
            corpus = open_packed_corpus(root)
            row = corpus.find_row(key)
        except (InputError, KeyError) as error:
            raise FileNotFoundError(normalize_path(self.path)) from error
        names = ("source_hash", "start_s", "whole", "source_bytes")
        return _Original(*(corpus.get_value(row, name) for name in names))


@dataclass(frozen=True)
class SyntheticVideo:
    """A video that is drawn when its frames are asked for; its path says all about it."""

    path: str
    is_packed = False

    def check(self) -> FileVersion:
        return FileVersion("drawn", 0)

    def read_packed(self) -> bytes | None:
        return None

    def get_content_stat(self) -> ContentStat:
        return ContentStat(0, 0)

    def hash_content(self) -> str:
        return hash_bytes(normalize_path(self.path).encode())

    def is_deleted(self) -> bool:
        return False

    def is_missing(self) -> bool:
        return False


class _Original(NamedTuple):
    """The video that a piece was packed from, where the piece begins in it, and whether it is all of it."""

    content_hash: str
    start_s: float
    is_whole: bool
    size_bytes: int


def open_source(path: str | Path) -> VideoSource:
    """The video that a path names, by the spelling of the path alone.

    >>> open_source(video).is_packed, open_source("corpus/00003.tar#000042.mp4").is_packed
    (False, True)
    """
    if is_synthetic(path):
        return SyntheticVideo(str(path))
    return PackedPiece(str(path)) if is_piece(path) else LocalFile(str(path))
