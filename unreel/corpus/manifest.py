"""The manifest of a corpus: its usable videos, its quarantined files, and how both are stored."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.retry import retry_on_stall
from unreel.io.text import format_count, format_duration, parse_json
from unreel.rows.video_rows import REPEATED, Video, VideoRows
from unreel.types import FileFailure

MANIFEST_FILE, QUARANTINE_FILE = "manifest.parquet", "quarantine.csv"
DAMAGE_ERRORS = (OSError, ValueError, KeyError, TypeError, csv.Error, pa.ArrowException)  # of `Manifest.parse`


@dataclass(frozen=True)
class Manifest:
    """The usable videos of a folder or list, and the quarantined files; both in the order they were found.

    `left_aside` counts what is in the folder and was not taken for a video, by suffix; e.g. {".jpg": 12, "hidden": 1}.
    """

    root: str
    videos: Sequence[Video]
    quarantine: tuple[FileFailure, ...] = ()
    left_aside: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "videos", VideoRows.from_videos(self.videos))

    @property
    def rows(self) -> VideoRows:
        """The videos as columns; `videos` is the same, as a sequence."""
        return VideoRows.from_videos(self.videos)

    def __repr__(self) -> str:
        """One line: a manifest may have a million videos.

        >>> Manifest("videos", ())
        Manifest of videos: 0 videos of 0 s, 0 files that can't be used
        """
        length = format_duration(pc.sum(self.rows.get_column("duration_s")).as_py() or 0.0)
        videos, unusable = format_count(len(self.videos), "video"), format_count(len(self.quarantine), "file")
        return f"Manifest of {self.root}: {videos} of {length}, {unusable} that can't be used"

    def drop_duplicates(self) -> VideoRows:
        """The videos without duplicates: training uses each content once."""
        rows = self.rows
        return rows.select(pc.equal(rows.get_column("duplicate_of"), "").to_numpy())

    def save(self, folder: Path) -> None:
        """Write manifest.parquet and quarantine.csv into `folder`, whole or not at all. Raises DiskError."""
        folder = Path(folder)
        with disk_errors(folder, "the manifest can't be written"):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / MANIFEST_FILE) as parquet, atomic_path(folder / QUARANTINE_FILE) as quarantine:
                about = {"root": self.root, "left_aside": dict(self.left_aside)}
                with parquet.open("wb") as file:  # Arrow takes no path that is not UTF-8
                    self.rows.write(file, {"unreel": json.dumps(about)})
                with quarantine.open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerow(["path", "reason", "detail"])
                    csv.writer(file).writerows([bad.path, bad.reason, bad.detail] for bad in self.quarantine)

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read what `save` wrote. Raises InputError if there is none in `folder` or it is damaged."""
        path = Path(folder, MANIFEST_FILE)
        if not path.is_file():
            raise InputError(f"{path}: no such file. Write a manifest with `unreel inspect`")
        try:
            quarantine = retry_on_stall(Path(folder, QUARANTINE_FILE).read_bytes)
            return retry_on_stall(lambda: cls._parse_file(path, quarantine))
        except DAMAGE_ERRORS as error:
            raise InputError(f"{folder}: the manifest is damaged ({error}). Run `unreel inspect` again") from error

    @classmethod
    def _parse_file(cls, path: Path, quarantine_csv: bytes) -> "Manifest":
        with path.open("rb") as parquet:
            return cls.parse(parquet, quarantine_csv)

    @classmethod
    def parse(cls, parquet: IO[bytes], quarantine_csv: bytes) -> "Manifest":
        """Parse the two files that `save` wrote: the first opened, the second by its bytes. Raises DAMAGE_ERRORS."""
        with pq.ParquetFile(parquet, read_dictionary=REPEATED) as file:
            about = parse_json(file.schema_arrow.metadata[b"unreel"])
            videos = VideoRows.read(file)
        lines = io.StringIO(quarantine_csv.decode("utf-8"), newline="")
        quarantine = [FileFailure(row["path"], row["reason"], row["detail"]) for row in csv.DictReader(lines)]
        return cls(about["root"], videos, tuple(quarantine), about.get("left_aside", {}))
