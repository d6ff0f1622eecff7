"""Instances as columns beside those of their videos: some 24 bytes each."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unreel.rows.columns import BLOCK_ROWS, is_constant, take_rows
from unreel.rows.row_sequence import RowSequence
from unreel.rows.video_rows import FILE_SCHEMA
from unreel.types import Instance

VIDEO_COLUMNS = ("path", "label", "group", "offset_s")  # what an instance has of its video


@dataclass(frozen=True, eq=False)
class InstanceRows(RowSequence[Instance]):
    """Instances of videos; an `Instance` is made when it is asked for, and equals any sequence of the same instances.

    `videos` has the columns of VIDEO_COLUMNS, `row_N` is the row of each instance's video in it, `video_N` the number
    of its recording; `start_s_N` and `end_s_N` are seconds in the file.
    """

    videos: pa.Table
    row_N: np.ndarray
    video_N: np.ndarray
    start_s_N: np.ndarray
    end_s_N: np.ndarray

    @classmethod
    def from_instances(cls, instances: Sequence[Instance]) -> "InstanceRows":
        """Instances as columns; the same object if they are columns already."""
        if isinstance(instances, InstanceRows):
            return instances
        columns = {name: [getattr(i, name) for i in instances] for name in VIDEO_COLUMNS}
        numbers = [np.array([getattr(i, name) for i in instances]) for name in ("video", "start_s", "end_s")]
        table = pa.table({name: pa.array(values, FILE_SCHEMA.field(name).type) for name, values in columns.items()})
        return cls(table, np.arange(len(instances)), *numbers)

    @property
    def recording_start_s_N(self) -> np.ndarray:
        """Seconds (N,) in the recording at which each instance begins."""
        offset_s = self.videos.column("offset_s")
        first_s_N = 0.0 if is_constant(offset_s, 0.0) else offset_s.to_numpy()[self.row_N]
        start_s_N: np.ndarray = first_s_N + self.start_s_N
        return start_s_N

    def find_paths(self, paths: Collection[str]) -> np.ndarray:
        """The numbers (n,) of the instances of some files."""
        is_named = pc.is_in(self.videos.column("path"), pa.array(paths, pa.string())).to_numpy()
        return np.flatnonzero(is_named[self.row_N])

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process with the videos of these instances alone."""
        used, row_N = np.unique(self.row_N, return_inverse=True)
        videos = self.videos
        if len(used) < len(videos):
            videos = pa.table({name: take_rows(videos.column(name), used) for name in VIDEO_COLUMNS})
        return InstanceRows, (videos, row_N, self.video_N, self.start_s_N, self.end_s_N)

    def __len__(self) -> int:
        return len(self.row_N)

    @overload
    def __getitem__(self, key: int) -> Instance: ...
    @overload
    def __getitem__(self, key: slice) -> "InstanceRows": ...
    def __getitem__(self, key: int | slice) -> "Instance | InstanceRows":
        if isinstance(key, slice):
            return self.select(key)
        number = range(len(self))[key]  # raises IndexError
        return self._few[number] if self._few else next(self._build(slice(number, number + 1)))

    def __iter__(self) -> Iterator[Instance]:
        for start in range(0, len(self), BLOCK_ROWS):
            yield from self._build(slice(start, start + BLOCK_ROWS))

    def select(self, chosen: slice | np.ndarray) -> "InstanceRows":
        """Some of the instances: by a slice, or where a mask (N,) is true."""
        names = [field.name for field in fields(self) if field.name != "videos"]
        return replace(self, **{name: _select(getattr(self, name), chosen) for name in names})

    @cached_property
    def _few(self) -> list[Instance]:
        """All instances where they are few, so that asking for one costs nothing; else none."""
        return list(self._build(slice(None))) if len(self) <= BLOCK_ROWS else []

    def _build(self, chosen: slice) -> Iterator[Instance]:
        row_n = self.row_N[chosen]
        columns = [_list_values(self.videos.column(name), row_n) for name in VIDEO_COLUMNS]
        numbers = (values[chosen].tolist() for values in (self.video_N, self.start_s_N, self.end_s_N))
        for path, label, group, offset_s, video, start_s, end_s in zip(*columns, *numbers, strict=True):
            yield Instance(path, video, start_s, end_s, label, group, offset_s)


def _select(values_N: np.ndarray, chosen: slice | np.ndarray) -> np.ndarray:
    """Some of the values; one value for all stays one in memory."""
    selected_n: np.ndarray = values_N[chosen]
    is_one = len(selected_n) and values_N.strides == (0,)
    return np.broadcast_to(values_N[0], len(selected_n)) if is_one else selected_n


def _list_values(column: pa.ChunkedArray, row_n: np.ndarray) -> list[Any]:
    """The values of some rows as Python objects."""
    values: list[Any] = [column[row_n.item()].as_py()] if len(row_n) == 1 else take_rows(column, row_n).to_pylist()
    return values
