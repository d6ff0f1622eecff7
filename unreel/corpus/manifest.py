"""The manifest of a corpus: its usable videos, its quarantined files, and how both are stored."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.retry import retry_on_stall
from unreel.io.text import format_count, format_duration, parse_json
from unreel.types import FileFailure

BATCH_ROWS = 65_536  # rows read at once as dictionaries, which take far more memory than `Video`
MANIFEST_FILE, QUARANTINE_FILE = "manifest.parquet", "quarantine.csv"


@dataclass(frozen=True, slots=True)
class Video:
    """A usable file: its properties, its label and group, and the times at which its shots change.

    `path` is absolute. `duplicate_of` is the path of an earlier file with the same bytes, "" if there is none. A piece
    of a packed corpus has its original as `recording`, in which it starts at `offset_s`. `cut_off` says what is missing
    at the end of a file that is used up to there.
    """

    path: str
    codec: str
    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    rotation: int
    variable_fps: bool
    size_bytes: int
    content_hash: str
    label: str = ""
    group: str = ""
    duplicate_of: str = ""
    shot_changes_s: tuple[float, ...] = ()
    recording: str = ""
    offset_s: float = 0.0
    cut_off: str = ""


@dataclass(frozen=True)
class Manifest:
    """The usable videos of a folder or list, and the quarantined files; both in the order they were found.

    `left_aside` counts what is in the folder and was not taken for a video, by suffix; e.g. {".jpg": 12, "hidden": 1}.
    """

    root: str
    videos: tuple[Video, ...]
    quarantine: tuple[FileFailure, ...] = ()
    left_aside: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: a manifest may have a million videos.

        >>> Manifest("videos", ())
        Manifest of videos: 0 videos of 0 s, 0 files that can't be used
        """
        length = format_duration(sum(video.duration_s for video in self.videos))
        videos, unusable = format_count(len(self.videos), "video"), format_count(len(self.quarantine), "file")
        return f"Manifest of {self.root}: {videos} of {length}, {unusable} that can't be used"

    def drop_duplicates(self) -> tuple[Video, ...]:
        """The videos without duplicates: training uses each content once."""
        return tuple(video for video in self.videos if not video.duplicate_of)

    def save(self, folder: Path) -> None:
        """Write manifest.parquet and quarantine.csv into `folder`, whole or not at all. Raises DiskError."""
        folder = Path(folder)
        with disk_errors(folder, "the manifest can't be written"):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / MANIFEST_FILE) as parquet, atomic_path(folder / QUARANTINE_FILE) as quarantine:
                pq.write_table(self._to_table(), parquet)
                with quarantine.open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerow(["path", "reason", "detail"])
                    csv.writer(file).writerows([bad.path, bad.reason, bad.detail] for bad in self.quarantine)

    def _to_table(self) -> pa.Table:
        rows = [asdict(video) for video in self.videos]
        about = {"root": self.root, "left_aside": dict(self.left_aside)}
        return pa.Table.from_pylist(rows, _SCHEMA.with_metadata({"unreel": json.dumps(about)}))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read what `save` wrote. Raises InputError if there is none in `folder` or it is damaged."""
        path = Path(folder, MANIFEST_FILE)
        if not path.is_file():
            raise InputError(f"{path}: no such file. Write a manifest with `unreel inspect`")
        try:
            return cls.parse(
                *(retry_on_stall(Path(folder, name).read_bytes) for name in (MANIFEST_FILE, QUARANTINE_FILE))
            )
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise InputError(f"{folder}: the manifest is damaged ({error}). Run `unreel inspect` again") from error

    @classmethod
    def parse(cls, parquet: bytes, quarantine_csv: bytes) -> "Manifest":
        """Parse the bytes of the two files that `save` wrote."""
        table = pq.read_table(io.BytesIO(parquet))
        about = parse_json(table.schema.metadata[b"unreel"])
        rows = (row for part in table.to_batches(BATCH_ROWS) for row in part.to_pylist())
        videos = [Video(**row | {"shot_changes_s": tuple(row["shot_changes_s"])}) for row in rows]
        lines = io.StringIO(quarantine_csv.decode("utf-8"), newline="")
        quarantine = [FileFailure(row["path"], row["reason"], row["detail"]) for row in csv.DictReader(lines)]
        return cls(about["root"], tuple(videos), tuple(quarantine), about.get("left_aside", {}))


_ARROW_TYPES: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_SCHEMA = pa.schema([(f.name, _ARROW_TYPES.get(f.type, pa.list_(pa.float64()))) for f in fields(Video)])
