"""Progress of `unreel index`, read from the files it has written so far."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unreel.indexing.store.embeddings_file import list_parts
from unreel.indexing.store.file_names import FILES_PARQUET
from unreel.io.file_lock import is_locked


class IndexProgress:
    """Counts of an index folder. Each part is read once, only its column of paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts_by_part: dict[tuple[str, int], tuple[int, int]] = {}  # (name, time of change): rows, videos

    def read_status(self) -> dict[str, Any]:
        """Rows and videos in the parts, the number of all videos (0: unknown yet), and whether indexing is running."""
        counts = [self._count_part(part) for part in list_parts(self.folder)]
        rows, videos = (sum(count[n] for count in counts) for n in (0, 1))
        return {"rows": rows, "videos": videos, "of_videos": self._count_files(), "indexing": is_locked(self.folder)}

    def _count_part(self, part: Path) -> tuple[int, int]:
        try:
            key = (part.name, part.stat().st_mtime_ns)
            if key not in self.counts_by_part:
                table = pq.read_table(part, columns=["path"])
                self.counts_by_part[key] = (len(table), pc.count_distinct(table["path"]).as_py())
            return self.counts_by_part[key]
        except (OSError, pa.ArrowException):
            return 0, 0  # replaced just now, or damaged: then opening the index fails

    def _count_files(self) -> int:
        try:
            return int(pq.read_metadata(self.folder / FILES_PARQUET).num_rows)
        except (OSError, pa.ArrowException):
            return 0
