"""How far `unreel index` has come, read cheaply from what it has written so far."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unreel.search.store import FILES, part_files
from unreel.training.run import is_written


class Progress:
    """Counts of an index folder; each part is read once, and only its column of paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counted: dict[tuple[str, int], tuple[int, int]] = {}  # (name, time of change) -> rows, videos

    def now(self) -> dict[str, Any]:
        """Rows and videos in the parts, videos there are in all (0: not known yet), and whether somebody writes."""
        rows = videos = 0
        for part in part_files(self.folder):
            for n, count in enumerate(self._count(part)):
                rows, videos = (rows + count, videos) if n == 0 else (rows, videos + count)
        return {"rows": rows, "videos": videos, "of_videos": self._known(), "indexing": is_written(self.folder)}

    def _count(self, part: Path) -> tuple[int, int]:
        try:
            key = (part.name, part.stat().st_mtime_ns)
            if key not in self.counted:
                table = pq.read_table(part, columns=["path"])
                self.counted[key] = (len(table), pc.count_distinct(table["path"]).as_py())
            return self.counted[key]
        except (OSError, pa.ArrowException):
            return 0, 0  # replaced just now, or damaged, which opening the index will say

    def _known(self) -> int:
        try:
            return int(pq.read_metadata(self.folder / FILES).num_rows)
        except (OSError, pa.ArrowException):
            return 0
