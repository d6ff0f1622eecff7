"""An index in LanceDB: a folder or an object store. Row N of the index is row N of the table.

A writing makes a new version of the table, with a tag of the index's id, so who has opened the one before goes on
reading that.
"""

import datetime
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.indexing.homes.address import HomeAddress, import_optional
from unreel.indexing.homes.home import (
    ROW_COLUMNS,
    Home,
    HomeChangedError,
    HomeContent,
    Record,
    RowQuestion,
    require_same_encoder,
)
from unreel.indexing.homes.records import make_write_records, read_description, read_newest_id, tidy_records

ROW_TYPES = (pa.int64(), pa.string(), pa.float64(), pa.float64(), pa.string(), pa.string())
RECORD_SCHEMA = pa.schema([("id", pa.string()), ("name", pa.string()), ("number", pa.int64()), ("data", pa.binary())])
KEPT_FOR = datetime.timedelta(days=1)  # copies of earlier writings
FAILURES = (OSError, RuntimeError, ValueError)
TAG_PREFIX = "unreel-"
MANY = 2**31
NUM_PROBES = 20  # partitions of an approximate index that are searched, each of a million rows
REFINE_FACTOR = 2  # times as many rows are ranked by their vectors as are wanted


class LanceHome(Home):
    """Two tables of a LanceDB database."""

    def __init__(self, address: HomeAddress) -> None:
        super().__init__(address)
        os.environ.setdefault("LANCE_LOG", "error")  # it would tell on the terminal that a table is new
        self.lancedb = import_optional("lancedb", "lancedb")
        self.rows: Any = None  # the table at the version of the opened index
        place = address.place
        self.is_missing = "://" not in place and not os.path.isdir(place)
        with self.translate_errors(*FAILURES):
            interval = datetime.timedelta(0)
            self.database = None if self.is_missing else self.lancedb.connect(place, read_consistency_interval=interval)

    def read_records(self, name: str) -> list[Record]:
        table = self._open(self.records_table)
        if table is None:
            return []
        with self.translate_errors(*FAILURES):
            found = table.search().where(f"name = {_quote(name)}").limit(MANY).to_arrow().to_pylist()
        return [Record(row["id"], row["name"], row["data"], row["number"]) for row in found]

    def list_names(self, prefix: str) -> list[str]:
        table = self._open(self.records_table)
        if table is None:
            return []
        with self.translate_errors(*FAILURES):
            where = f"starts_with(name, {_quote(prefix)})"
            found = table.search().where(where).select(["name"]).limit(MANY).to_arrow()
        return sorted(set(found["name"].to_pylist()))

    def add_records(self, records: Sequence[Record]) -> None:
        with self.translate_errors(*FAILURES):
            table = self._open(self.records_table)
            if table is None:
                table = self._connect().create_table(self.records_table, schema=RECORD_SCHEMA, exist_ok=True)
            there = self._find_ids(table, [record.id for record in records])
            rows = [(r.id, r.name, r.number, r.data) for r in records if r.id not in there]
            if rows:
                columns = [
                    pa.array(column, field.type)
                    for column, field in zip(zip(*rows, strict=True), RECORD_SCHEMA, strict=True)
                ]
                table.add(pa.table(columns, schema=RECORD_SCHEMA))

    def delete_records(self, ids: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        table = self._open(self.records_table)
        with self.translate_errors(*FAILURES):
            for column, values in (("id", ids), ("name", names)):
                if table is not None and values:
                    table.delete(f"{column} IN ({', '.join(map(_quote, values))})")

    def count_rows(self) -> int:
        table = self._open(self.table) if self.rows is None else self.rows
        with self.translate_errors(*FAILURES):
            return 0 if table is None else int(table.count_rows())

    def open_index(self, description: dict[str, Any]) -> None:
        super().open_index(description)
        table = self._open(self.table)
        if table is None:
            return
        try:
            table.checkout(TAG_PREFIX + self.index_id)
        except FAILURES as error:
            problem = f"the version of the table that the index was written to is gone ({error})"
            raise self.fail(" ".join(problem.split()), "write the index again") from error
        self.rows = table

    def find_nearest(self, question: RowQuestion) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self._find_nearest_to(query_D, question) for query_D in question.query_QD]

    def _find_nearest_to(self, query_D: np.ndarray, question: RowQuestion) -> tuple[np.ndarray, np.ndarray]:
        with self._reading():
            search = self.rows.search(query_D, vector_column_name=_name_column(question.vector)).distance_type("dot")
            if question.ranges_R2 is not None:
                within = (f"(row >= {first} AND row < {stop})" for first, stop in question.ranges_R2.tolist())
                search = search.where(" OR ".join(within), prefilter=True)
            if question.candidates:
                search = search.nprobes(NUM_PROBES).refine_factor(REFINE_FACTOR)
                search = search.ef(max(question.candidates, REFINE_FACTOR * question.k))
            else:
                search = search.bypass_vector_index()
            found = search.select(["row", "_distance"]).limit(question.k).to_arrow()
        return (1 - found["_distance"].to_numpy()).astype(np.float32), found["row"].to_numpy().astype(np.int64)

    def read_vectors(self, row_n: np.ndarray) -> np.ndarray:
        distinct_n, place_n = np.unique(row_n, return_inverse=True)
        with self._reading():
            found = self.rows.take_offsets(distinct_n.tolist()).select(["row", "vector"]).to_arrow()
        order = np.argsort(found["row"].to_numpy())
        return _to_vectors(found["vector"])[order][place_n]

    def read_block(self, first: int, stop: int) -> np.ndarray:
        with self._reading():
            within = self.rows.search().where(f"row >= {first} AND row < {stop}")
            found = within.select(["row", "vector"]).limit(stop - first).to_arrow()
        return _to_vectors(found["vector"])[np.argsort(found["row"].to_numpy())]

    def write(self, content: HomeContent, replace: bool) -> None:
        schema = _make_schema(content.widths)
        with self.translate_errors(*FAILURES, hint="is the address right, and does it answer?"):
            table, before = self._open(self.table), read_description(self)
            if table is not None:
                plain = [field for field in schema if not field.name.startswith("vector_")]
                earlier = pa.schema([field for field in plain if field.name != "content_hash"])
                self.require_replaceable(replace, table.schema in (schema, pa.schema(plain), earlier))
                require_same_encoder(self, before or {}, content.description)
            batches = (_make_batch(*batch, schema) for batch in content.iterate_batches(self.batch_rows))
            mode = "create" if table is None else "overwrite"
            written = self._connect().create_table(self.table, data=batches, schema=schema, mode=mode)
            written.optimize()
            written.tags.create(TAG_PREFIX + content.description["id"], written.version)
        self.add_records(make_write_records(self, content))
        tidy_records(self, content.description)
        with self.translate_errors(*FAILURES):
            kept = {TAG_PREFIX + str(known["id"]) for known in (before or content.description, content.description)}
            for tag in [tag for tag in written.tags.list() if tag.startswith(TAG_PREFIX) and tag not in kept]:
                written.tags.delete(tag)
            written.optimize(cleanup_older_than=KEPT_FOR)  # deletes what no tag and no version of today needs

    def make_approximate(self, widths: dict[str, int]) -> list[str]:
        """HNSW over codes of 8 bits a number, ranked anew by the vectors themselves. It makes a new version of the
        table, to which the tag of the index moves; who has opened the one before goes on without."""
        from lancedb.index import IvfHnswSq

        table, tag = self._open(self.table), TAG_PREFIX + self.index_id
        if table is None:
            raise self.change_error()
        with self.translate_errors(*FAILURES):
            version = table.tags.get_version(tag)
            for number, name in enumerate(widths):
                if table.version != version + number or read_newest_id(self) != self.index_id:
                    raise self.change_error()
                table.create_index(_name_column(name), config=IvfHnswSq(distance_type="dot"))
            if table.version != version + len(widths):
                raise self.change_error()
            table.tags.update(tag, version + len(widths))
        self.open_index({"id": self.index_id})
        return list(widths)

    def close(self) -> None:
        self.rows = self.database = None

    def _connect(self) -> Any:
        if self.database is None:
            self.database = self.lancedb.connect(self.address.place, read_consistency_interval=datetime.timedelta(0))
        return self.database

    def _open(self, name: str) -> Any:
        """A table; None where there is none."""
        if self.database is None:
            return None
        with self.translate_errors(*FAILURES):
            try:
                return self.database.open_table(name)
            except ValueError as error:
                if "not found" in str(error):
                    return None
                raise

    def _find_ids(self, table: Any, ids: Sequence[str]) -> set[str]:
        where = f"id IN ({', '.join(map(_quote, ids))})"
        return (
            set(table.search().where(where).select(["id"]).limit(MANY).to_arrow()["id"].to_pylist()) if ids else set()
        )

    def _reading(self) -> Any:
        if self.rows is None:
            raise HomeChangedError(f"{self.address}: the table '{self.table}' is gone", "export the index again")
        return self.translate_errors(*FAILURES)


def _make_schema(widths: dict[str, int]) -> pa.Schema:
    vectors = [(_name_column(name), pa.list_(pa.float32(), width)) for name, width in widths.items()]
    return pa.schema([*zip(ROW_COLUMNS, ROW_TYPES, strict=True), *vectors])


def _make_batch(columns: dict[str, list[Any]], vectors: dict[str, np.ndarray], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(columns[name], schema.field(name).type) for name in ROW_COLUMNS]
    for vectors_nD in vectors.values():
        flat = pa.array(np.ascontiguousarray(vectors_nD, np.float32).ravel())
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, vectors_nD.shape[1]))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _name_column(vector: str) -> str:
    return f"vector_{vector}" if vector else "vector"


def _to_vectors(column: pa.ChunkedArray) -> np.ndarray:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors_nD: np.ndarray = flat.reshape(len(column), column.type.list_size).astype(np.float32, copy=False)
    return vectors_nD


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
