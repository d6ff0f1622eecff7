"""Which files may be served: those of the index, by number, and only while they are what was indexed."""

import io
import os
import stat
from typing import BinaryIO

from unreel.corpus.file_tracker import FileRecord, FileRecords
from unreel.errors import InputError
from unreel.io.checksums import hash_stream
from unreel.video.sources.source import open_source


class VideoGoneError(InputError):
    """A video that is not there any more, or another one now."""


class IndexedFiles:
    """The videos of an index by their number. No path ever comes from a browser.

    A file is what was indexed when size and time of change are the same, or else its hash (`packed.content_hash`). So a
    link that was put in its place shows nothing, wherever it leads.
    """

    def __init__(self, paths: list[str], records: FileRecords) -> None:
        self.paths, self.records = paths, records
        self.verified_stamps: set[tuple[str, int, int]] = (
            set()
        )  # hashed and found to be what was indexed, by path, size and time

    def get_record(self, number: int) -> FileRecord:
        """Raises Gone for a number or path that the index does not have."""
        if not 0 <= number < len(self.paths) or self.paths[number] not in self.records:
            raise VideoGoneError(
                f"video {number} is not in the index, which has {len(self.paths)}; load the page again"
            )
        return self.records[self.paths[number]]

    def resolve_path(self, number: int) -> str:
        """The path of a video, once it is known to be the one indexed. Raises Gone, VideoError."""
        self.open(number).close()
        return self.paths[number]

    def open(self, number: int) -> BinaryIO:
        """The bytes of a video; what is looked at is what was opened. Raises Gone, VideoError."""
        file = self.get_record(number)
        if (data := open_source(file.path).read_packed()) is not None:
            return io.BytesIO(data)  # compared with its checksum
        try:
            opened = os.fdopen(os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except OSError as error:
            raise VideoGoneError(
                f"{file.path}: deleted or moved since it was indexed ({error.strerror}); run `unreel index` again"
            ) from error
        if self._is_unchanged(file, opened):
            return opened
        opened.close()
        raise VideoGoneError(f"{file.path}: another file than the one that was indexed; run `unreel index` again")

    def _is_unchanged(self, file: FileRecord, stream: io.BufferedReader) -> bool:
        now = os.fstat(stream.fileno())
        if not stat.S_ISREG(now.st_mode) or now.st_size != file.size_bytes:
            return False
        seen = (file.path, now.st_size, now.st_mtime_ns)
        if now.st_mtime_ns == file.mtime_ns or seen in self.verified_stamps:
            return True
        if hash_stream(stream) != file.content_hash:
            return False
        self.verified_stamps.add(seen)
        return True
