"""The file book of a store as columns: some 100 bytes a file, where a dict of objects takes 700."""

import heapq
import itertools
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass, fields
from functools import cached_property
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unreel.rows.columns import BLOCK_ROWS, is_ascending, take_rows

REPEATED = ("source", "label")  # few different values: kept once each


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A readable file: its absolute path, the source that added it, its label, its size, time and content."""

    path: str
    source: str
    label: str
    size_bytes: int
    mtime_ns: int
    content_hash: str


NAMES = [field.name for field in fields(FileRecord)]
FILE_SCHEMA = pa.schema([(f.name, pa.string() if f.type is str else pa.int64()) for f in fields(FileRecord)])
_SMALL_STRING = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema([(f.name, _SMALL_STRING if f.name in REPEATED else f.type) for f in FILE_SCHEMA])


class FileRows:
    """Records in Arrow columns that never change, of different paths, in the order they were added."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._chunks: list[pa.Array] = table.column("path").chunks
        self._first_C = [0, *itertools.accumulate(len(chunk) for chunk in self._chunks)]
        self._hints = threading.local()  # files are asked for in the order they stand there, mostly

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def order_N(self) -> np.ndarray | None:
        """The rows (N,) in the order of their paths; None where they stand in it, as files of a folder are found."""
        column = self.table.column("path")
        return None if is_ascending(column) else pc.sort_indices(column).to_numpy().astype(np.int32)

    def has_repeats(self) -> bool:
        """Whether a path stands in two rows, as this program never writes it."""
        if self.order_N is None:
            return False
        for start in range(1, len(self), BLOCK_ROWS):
            block = take_rows(self.table.column("path"), self.order_N[start - 1 : start + BLOCK_ROWS])
            if pc.any(pc.equal(block[1:], block[:-1])).as_py():
                return True
        return False

    def get_path(self, row: int) -> str:
        chunk = bisect_right(self._first_C, row) - 1
        return str(self._chunks[chunk][row - self._first_C[chunk]].as_py())

    def get_record(self, row: int) -> FileRecord:
        return FileRecord(**self.table.slice(row, 1).to_pylist()[0])

    def find(self, path: str) -> int | None:
        """The row of a path."""
        hint = getattr(self._hints, "row", 0)
        if hint < len(self) and self.get_path(hint) == path:
            self._hints.row = hint + 1
            return hint
        order_N = self.order_N
        rows = range(len(self))
        place = bisect_left(rows, path, key=lambda n: self.get_path(n if order_N is None else int(order_N[n])))
        if place == len(self):
            return None
        row = place if order_N is None else int(order_N[place])
        if self.get_path(row) != path:
            return None
        self._hints.row = row + 1
        return row

    def find_contents(self, hashes: Collection[str]) -> np.ndarray:
        """The rows (n,) that have one of these contents."""
        return np.flatnonzero(pc.is_in(self.table.column("content_hash"), pa.array(hashes, pa.string())).to_numpy())

    def iterate_sorted(self) -> Iterator[tuple[int, FileRecord]]:
        """Rows and records in the order of the paths, a block at a time."""
        for start in range(0, len(self), BLOCK_ROWS):
            if self.order_N is None:
                row_n = np.arange(start, min(start + BLOCK_ROWS, len(self)))
            else:
                row_n = self.order_N[start : start + BLOCK_ROWS]
            columns = [take_rows(self.table.column(name), row_n).to_pylist() for name in NAMES]
            yield from zip(row_n.tolist(), map(FileRecord, *columns), strict=True)

    def iterate_records(self) -> Iterator[tuple[int, FileRecord]]:
        """Rows and records in order, a block at a time."""
        records = (FileRecord(**row) for batch in self.table.to_batches(BLOCK_ROWS) for row in batch.to_pylist())
        return enumerate(records)


class FileBook(MutableMapping[str, FileRecord]):
    """Records by path, in the order they were added: equal to a dict of the same records.

    What was read stands in columns; what was changed since, in objects beside it.

    >>> book = FileBook.from_records([FileRecord("/v/a.mp4", "/v", "", 1, 2, "ab")])
    >>> book["/v/a.mp4"].content_hash, "/v/b.mp4" in book
    ('ab', False)
    """

    def __init__(self, rows: FileRows | None = None) -> None:
        self.rows = FileRows(SCHEMA.empty_table()) if rows is None else rows
        self.replaced: dict[int, FileRecord] = {}  # by row
        self.removed: set[int] = set()
        self.added: dict[str, FileRecord] = {}

    @classmethod
    def from_records(cls, records: Iterable[FileRecord]) -> "FileBook":
        """A book of records of different paths, all in columns."""
        batches, left = [], iter(records)
        while block := list(itertools.islice(left, BLOCK_ROWS)):
            batches.append(_to_table(block).cast(SCHEMA))
        return cls(FileRows(pa.concat_tables(batches) if batches else SCHEMA.empty_table()))

    @classmethod
    def read(cls, file: IO[bytes]) -> "FileBook":
        """The book that `write` wrote. Raises pyarrow.ArrowException, OSError or ValueError."""
        with pq.ParquetFile(file) as parquet:
            if set(parquet.schema_arrow.names) != set(NAMES):
                raise ValueError(f"its columns are {', '.join(parquet.schema_arrow.names)}")
            tables = [_require_values(batch) for batch in parquet.iter_batches(BLOCK_ROWS)]
        rows = FileRows(pa.concat_tables(tables) if tables else SCHEMA.empty_table())
        if not rows.has_repeats():
            return cls(rows)
        return cls.from_records({record.path: record for _, record in rows.iterate_records()}.values())

    def write(self, file: IO[bytes]) -> None:
        """Write a Parquet file, a block at a time. Raises OSError."""
        with pq.ParquetWriter(file, FILE_SCHEMA) as writer:
            if not self.replaced and not self.removed:
                for batch in self.rows.table.to_batches(BLOCK_ROWS):
                    writer.write_table(pa.Table.from_batches([batch]).cast(FILE_SCHEMA))
                left = iter(self.added.values())
            else:
                left = iter(self.values())
            while block := list(itertools.islice(left, BLOCK_ROWS)):
                writer.write_table(_to_table(block))

    def copy(self) -> "FileBook":
        """The same records; columns are shared."""
        other = FileBook(self.rows)
        other.replaced, other.removed, other.added = dict(self.replaced), set(self.removed), dict(self.added)
        return other

    def __getitem__(self, path: str) -> FileRecord:
        if path in self.added:
            return self.added[path]
        row = self._find(path)
        if row is None:
            raise KeyError(path)
        return self.replaced.get(row) or self.rows.get_record(row)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self.added or self._find(path) is not None)

    def __setitem__(self, path: str, record: FileRecord) -> None:
        if path != record.path:
            raise ValueError(f"the record of {record.path} can't stand under {path}")
        row = None if path in self.added else self._find(path)
        if row is None:
            self.added[path] = record
        elif self[path] != record:
            self.replaced[row] = record

    def __delitem__(self, path: str) -> None:
        if path in self.added:
            del self.added[path]
            return
        row = self._find(path)
        if row is None:
            raise KeyError(path)
        self.replaced.pop(row, None)
        self.removed.add(row)

    def __len__(self) -> int:
        return len(self.rows) - len(self.removed) + len(self.added)

    def __iter__(self) -> Iterator[str]:
        paths = (path for batch in self.rows.table.to_batches(BLOCK_ROWS) for path in batch.column("path").to_pylist())
        yield from (path for row, path in enumerate(paths) if row not in self.removed)
        yield from self.added

    def values(self) -> ValuesView[FileRecord]:
        return _Records(self)

    def items(self) -> ItemsView[str, FileRecord]:
        return _Items(self)

    def iterate_sorted(self) -> Iterator[FileRecord]:
        """The records in the order of their paths."""
        kept = self._replace(self.rows.iterate_sorted())
        return heapq.merge(kept, sorted(self.added.values(), key=_get_path), key=_get_path)

    def find_holders(self, hashes: Collection[str]) -> list[FileRecord]:
        """The records that have one of these contents, in the order they were added."""
        row_n = self.rows.find_contents(hashes).tolist() if hashes else []
        rows = sorted({*row_n, *self.replaced} - self.removed)
        records = [self.replaced.get(row) or self.rows.get_record(row) for row in rows]
        wanted = set(hashes)
        return [record for record in (*records, *self.added.values()) if record.content_hash in wanted]

    def list_differing(self, other: Mapping[str, FileRecord]) -> list[str]:
        """The paths that have another content, or none, in the other records."""
        if isinstance(other, FileBook) and other.rows is self.rows:
            rows = (set(self.replaced) | set(other.replaced) | other.removed) - self.removed
            paths: Iterable[str] = (*map(self.rows.get_path, sorted(rows)), *self.added)
        else:
            paths = self
        return [p for p in paths if p not in other or other[p].content_hash != self[p].content_hash]

    def _find(self, path: str) -> int | None:
        """The row of a path that is not removed."""
        row = self.rows.find(path)
        return None if row in self.removed else row

    def _replace(self, rows: Iterable[tuple[int, FileRecord]]) -> Iterator[FileRecord]:
        """Records as they are now, without those that were removed."""
        return (self.replaced.get(row, record) for row, record in rows if row not in self.removed)

    def _iterate(self) -> Iterator[FileRecord]:
        yield from self._replace(self.rows.iterate_records())
        yield from self.added.values()


class _Records(ValuesView[FileRecord]):
    """Of a block at a time, where a view of a mapping would look for each path."""

    _mapping: FileBook

    def __iter__(self) -> Iterator[FileRecord]:
        return self._mapping._iterate()


class _Items(ItemsView[str, FileRecord]):
    _mapping: FileBook

    def __iter__(self) -> Iterator[tuple[str, FileRecord]]:
        return ((record.path, record) for record in self._mapping._iterate())


class PathSet:
    """Paths of files, one bit for each that a book has."""

    def __init__(self, rows: FileRows) -> None:
        self.rows, self.has_row_N = rows, np.zeros(len(rows), bool)
        self.others: set[str] = set()

    def add(self, path: str) -> None:
        row = self.rows.find(path)
        if row is None:
            self.others.add(path)
        else:
            self.has_row_N[row] = True

    def __contains__(self, path: str) -> bool:
        row = self.rows.find(path)
        return path in self.others if row is None else bool(self.has_row_N[row])

    def __bool__(self) -> bool:
        return bool(self.others) or bool(self.has_row_N.any())


def iterate_sorted(records: Mapping[str, FileRecord]) -> Iterator[FileRecord]:
    """The records in the order of their paths."""
    return records.iterate_sorted() if isinstance(records, FileBook) else iter(sorted(records.values(), key=_get_path))


def _get_path(record: FileRecord) -> str:
    return record.path


def _to_table(records: list[FileRecord]) -> pa.Table:
    columns: list[Any] = [pa.array([getattr(r, f.name) for r in records], f.type) for f in FILE_SCHEMA]
    return pa.Table.from_arrays(columns, schema=FILE_SCHEMA)


def _require_values(batch: pa.RecordBatch) -> pa.Table:
    """The batch in small types, if every row has its values and they can be read. Raises ValueError or
    pyarrow.ArrowException."""
    batch.validate(full=True)  # else text that is not UTF-8 would fail where a row is asked for
    if lacking := [name for name, column in zip(batch.schema.names, batch.columns, strict=True) if column.null_count]:
        raise ValueError(f"rows without a value of {', '.join(lacking)}")
    return pa.Table.from_batches([batch]).select(NAMES).cast(SCHEMA)
