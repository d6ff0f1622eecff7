"""The videos of a corpus as columns: some 150 bytes each, where an object of Python takes a kilobyte."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import IO, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unreel.rows.columns import BLOCK_ROWS, share_columns
from unreel.rows.row_sequence import RowSequence

REPEATED = ("codec", "label", "group")  # few different values: kept once each
MAX_SHOWN = 3


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


_FILE_TYPES: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_LIST = pa.list_(pa.float64())
FILE_SCHEMA = pa.schema([(f.name, _FILE_TYPES.get(f.type, _LIST)) for f in fields(Video)])
_SMALL_TYPES = {"width": pa.int16(), "height": pa.int16(), "rotation": pa.int16(), "num_frames": pa.int32()}
_SMALL_TYPES |= {name: pa.dictionary(pa.int32(), pa.string()) for name in REPEATED}
SCHEMA = pa.schema([(f.name, _SMALL_TYPES.get(f.name, _FILE_TYPES.get(f.type, _LIST))) for f in fields(Video)])


class VideoRows(RowSequence[Video]):
    """Videos in Arrow columns; a `Video` is made when it is asked for, and equals any sequence of the same videos.

    >>> len(VideoRows.from_videos([])), VideoRows.from_videos([]) == ()
    (0, True)
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def from_videos(cls, videos: Iterable[Video]) -> "VideoRows":
        if isinstance(videos, VideoRows):
            return videos
        batches, left = [], iter(videos)
        while rows := list(itertools.islice(left, BLOCK_ROWS)):
            columns = [pa.array([getattr(row, f.name) for row in rows], f.type) for f in FILE_SCHEMA]
            batches.append(pa.record_batch(columns, FILE_SCHEMA))
        return cls(_join(batches))

    @classmethod
    def read(cls, file: pq.ParquetFile) -> "VideoRows":
        """The rows of a file that `write` made. Raises pyarrow.ArrowException, OSError, KeyError or ValueError."""
        return cls(_join(map(_require_values, file.iter_batches(BLOCK_ROWS))))

    def write(self, file: IO[bytes], metadata: dict[str, str]) -> None:
        """Write a Parquet file. Raises OSError."""
        schema = FILE_SCHEMA.with_metadata(metadata)
        with pq.ParquetWriter(file, schema) as writer:
            for batch in self.table.to_batches(BLOCK_ROWS):
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, key: int) -> Video: ...
    @overload
    def __getitem__(self, key: slice) -> "VideoRows": ...
    def __getitem__(self, key: int | slice) -> "Video | VideoRows":
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return VideoRows(self.table.slice(start, max(0, stop - start)))
            return VideoRows.from_videos(self[number] for number in range(start, stop, step))
        number = range(len(self))[key]  # raises IndexError
        return _build_video(self.table.slice(number, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Video]:
        for batch in self.table.to_batches(BLOCK_ROWS):
            yield from map(_build_video, batch.to_pylist())

    def __repr__(self) -> str:
        shown = [repr(video) for video in self[:MAX_SHOWN]] + ["..."] * (len(self) > MAX_SHOWN)
        return f"VideoRows([{', '.join(shown)}])"

    def get_column(self, name: str) -> pa.ChunkedArray:
        """A field of all videos."""
        return self.table.column(name)

    def select(self, chosen_N: np.ndarray) -> "VideoRows":
        """The videos for which a mask (N,) is true; the same columns if it is true for all."""
        return self if chosen_N.all() else VideoRows(self.table.filter(pa.array(chosen_N)))


def _join(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Batches of a file as one table of SCHEMA; each is made small before the next is read."""
    small: list[pa.Table] = []
    for batch in batches:
        table = _fill_missing(pa.Table.from_batches([batch])).cast(SCHEMA)
        small.append(share_columns(table, small[-1]) if small else table)
    return pa.concat_tables(small) if small else SCHEMA.empty_table()


def _require_values(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, if every row has its values and they can be read. Raises ValueError or pyarrow.ArrowException."""
    batch.validate(full=True)  # else text that is not UTF-8 would fail where a row is asked for
    if lacking := [name for name, column in zip(batch.schema.names, batch.columns, strict=True) if column.null_count]:
        raise ValueError(f"rows without a value of {', '.join(lacking)}")
    return batch


def _fill_missing(table: pa.Table) -> pa.Table:
    """All fields in order, with their defaults where an older version wrote none. Raises KeyError or ValueError."""
    if unknown := set(table.column_names) - set(SCHEMA.names):
        raise ValueError(f"unknown columns {', '.join(sorted(unknown))}")
    defaults = {field.name: field.default for field in fields(Video) if field.default is not MISSING}
    for name in [name for name in SCHEMA.names if name not in table.column_names]:
        table = table.append_column(name, pa.array([defaults[name]] * len(table), FILE_SCHEMA.field(name).type))
    return table.select(SCHEMA.names)


def _build_video(row: dict[str, Any]) -> Video:
    return Video(**row | {"shot_changes_s": tuple(row["shot_changes_s"])})
