"""The files that may be served: videos of the index, by number, while they are unchanged."""

import io
import os
import stat
from typing import BinaryIO

from unreel.corpus.file_tracker import FileRecord, FileRecords
from unreel.errors import InputError
from unreel.io.checksums import hash_stream
from unreel.io.text import format_count
from unreel.video.sources.source import open_source


class VideoGoneError(InputError):
    """A video that was deleted or replaced since it was indexed."""


class IndexedFiles:
    """The videos of an index by their number. A browser never sends a path.

    A file is unchanged when its size and time of change are the indexed ones, or else its content hash is. So a link
    put in its place serves nothing, wherever it leads.
    """

    def __init__(self, paths: list[str], records: FileRecords) -> None:
        self.paths, self.records = paths, records
        self.verified_stamps = set[tuple[str, int, int]]()  # path, size and time of files whose hash was checked

    def get_record(self, number: int) -> FileRecord:
        """Raises VideoGoneError for a number that the index does not have."""
        if not 0 <= number < len(self.paths) or self.paths[number] not in self.records:
            raise VideoGoneError(
                f"video {number} is not in the index, which has {format_count(len(self.paths), 'video')}; load "
                "the page again"
            )
        return self.records[self.paths[number]]

    def resolve_path(self, number: int) -> str:
        """The path of a video, after a check that it is unchanged. Raises VideoGoneError, VideoError."""
        self.open(number).close()
        return self.paths[number]

    def open(self, number: int) -> BinaryIO:
        """Open a video and check the opened file. Raises VideoGoneError, VideoError."""
        record = self.get_record(number)
        if (data := open_source(record.path).read_packed()) is not None:
            return io.BytesIO(data)  # its checksum has been verified
        try:
            file = os.fdopen(os.open(record.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except OSError as error:
            raise VideoGoneError(
                f"{record.path}: deleted or moved since it was indexed ({error.strerror}); run `unreel index` again"
            ) from error
        if self._is_unchanged(record, file):
            return file
        file.close()
        raise VideoGoneError(f"{record.path}: another file than the one that was indexed; run `unreel index` again")

    def _is_unchanged(self, record: FileRecord, stream: io.BufferedReader) -> bool:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != record.size_bytes:
            return False
        stamp = (record.path, status.st_size, status.st_mtime_ns)
        if status.st_mtime_ns == record.mtime_ns or stamp in self.verified_stamps:
            return True
        if hash_stream(stream) != record.content_hash:
            return False
        self.verified_stamps.add(stamp)
        return True
