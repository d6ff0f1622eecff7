"""An index as a table of a vector database, for those who outgrow one machine. Row N of the index is row N there.

A table that is there already is left alone, unless it shall be replaced and looks like one that was made here.
"""

import contextlib
import datetime
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.errors import InputError
from unreel.indexing.export_files import iterate_batches
from unreel.indexing.index.clip_index import Index

QDRANT_BATCH_ROWS = 256  # a call to Qdrant: JSON, of which its server takes 32 MB at most
COLUMNS = ("row", "video", "start_s", "end_s", "label")


def to_lancedb(index: Index, target: str, table: str = "unreel", replace: bool = False) -> None:
    """A LanceDB table in the folder or address `place`: row, video, start_s, end_s, label, vector.

    One that is replaced loses its own indexes; who reads sees the old rows until the new ones are all there.
    """
    lancedb = import_optional("lancedb", "lancedb")
    types = (pa.int64(), pa.string(), pa.float64(), pa.float64(), pa.string())
    dim = index.vectors_ND.shape[1]
    schema = pa.schema([*zip(COLUMNS, types, strict=True), ("vector", pa.list_(pa.float32(), dim))])

    def filled() -> Iterator[pa.RecordBatch]:
        for _, said, vectors_nD in iterate_batches(index):
            columns = [pa.array([who[name] for who in said], schema.field(name).type) for name in COLUMNS]
            flat = pa.array(np.ascontiguousarray(vectors_nD).ravel())
            yield pa.RecordBatch.from_arrays([*columns, pa.FixedSizeListArray.from_arrays(flat, dim)], schema=schema)

    with translate_errors(target, OSError, RuntimeError, ValueError):
        database = lancedb.connect(target)
        there = table in database.list_tables().tables
        if there:
            require_replaceable(target, table, replace, database.open_table(table).schema == schema)
        made = database.create_table(table, data=filled(), schema=schema, mode="overwrite" if there else "create")
        made.optimize(cleanup_older_than=datetime.timedelta(days=1))  # else every replacement adds a copy to the disk


def to_qdrant(index: Index, target: str, table: str = "unreel", replace: bool = False) -> None:
    """A Qdrant collection on the server at http(s)://..., or in a folder (its local mode); point N is row N.

    A new one is taken away again when not all rows arrive. One that is replaced keeps its settings: points are
    overwritten, then those beyond the last row leave.
    """
    qdrant = import_optional("qdrant_client", "qdrant-client")
    where = {"url": target} if target.startswith(("http://", "https://")) else {"path": target}
    models, failures = qdrant.models, import_optional("qdrant_client.http.exceptions", "qdrant-client")
    params = models.VectorParams(size=index.vectors_ND.shape[1], distance=models.Distance.DOT)
    with translate_errors(target, OSError, RuntimeError, ValueError, failures.ApiException):
        client = qdrant.QdrantClient(**where, check_compatibility=False)  # a thread that asks for the version
        with contextlib.closing(client):
            there = client.collection_exists(table)
            if there:
                require_replaceable(target, table, replace, _is_ours(client, table, params))
            else:
                client.create_collection(table, vectors_config=params)
            try:
                for first, said, vectors_nD in iterate_batches(index, QDRANT_BATCH_ROWS):
                    ids = list(range(first, first + len(said)))
                    client.upsert(table, models.Batch(ids=ids, vectors=vectors_nD.tolist(), payloads=said))
            except BaseException:
                if not there:
                    client.delete_collection(table)
                raise
            beyond = models.FieldCondition(key="row", range=models.Range(gte=len(index.rows)))
            client.delete(table, models.FilterSelector(filter=models.Filter(must=[beyond])))


def _is_ours(client: Any, table: str, params: Any) -> bool:
    """Has a collection vectors as ours and, where it has a point, what we say of one?"""
    found = client.get_collection(table).config.params.vectors
    some, _ = client.scroll(table, limit=1)
    alike = (getattr(found, "size", None), getattr(found, "distance", None)) == (params.size, params.distance)
    return alike and all(set(point.payload) == set(COLUMNS) for point in some)


def to_pgvector(index: Index, target: str, table: str = "unreel", replace: bool = False) -> None:
    """A table of a PostgreSQL server with pgvector: row, video, start_s, end_s, label, embedding; all rows or none.

    One that is replaced is emptied and filled in one transaction: its indexes stay, and who reads sees the old rows
    until the new ones are all there.
    """
    psycopg, sql = import_optional("psycopg", "psycopg[binary]"), import_optional("psycopg.sql", "psycopg[binary]")
    name, types = sql.Identifier(table), ("bigint", "text", "double precision", "double precision", "text")
    columns = [*zip(COLUMNS, types, strict=True), ("embedding", f"vector({index.vectors_ND.shape[1]})")]
    with translate_errors("the PostgreSQL server", psycopg.Error), psycopg.connect(target) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        there = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 "
        there += "AND NOT attisdropped AND attrelid = to_regclass(quote_ident(%s)) ORDER BY attnum"
        if found := cursor.execute(there, (table,)).fetchall():
            require_replaceable("the PostgreSQL server", table, replace, found == columns)
            cursor.execute(sql.SQL("DELETE FROM {}").format(name))
        else:
            spelled = ", ".join(" ".join(column) for column in columns)
            cursor.execute(sql.SQL("CREATE TABLE {} (" + spelled + ", PRIMARY KEY (row))").format(name))
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
            for _, said, vectors_nD in iterate_batches(index):
                for who, vector_D in zip(said, vectors_nD, strict=True):
                    copy.write_row((*who.values(), "[" + ",".join(f"{x:.9g}" for x in vector_D) + "]"))


def import_optional(module: str, package: str) -> Any:
    """A library that only these need. Raises InputError that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"this needs {package}, which is not installed ({error}): pip install '{package}'") from error


def require_replaceable(target: str, table: str, replace: bool, has_our_columns: bool) -> None:
    """Raise InputError for a table that is there, unless it shall be replaced and has the columns that ours has."""
    if not replace:
        raise InputError(f"{target}: a table '{table}' is there already; nothing was changed. Choose another --table")
    if not has_our_columns:
        raise InputError(
            f"{target}: the table '{table}' has other columns than unreel's for this index, or vectors of another "
            "width; nothing was changed. Choose another --table"
        )


@contextlib.contextmanager
def translate_errors(target: str, *failures: type[Exception]) -> Iterator[None]:
    """What a database says when it fails, in one line, as InputError."""
    try:
        yield
    except failures as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{target}: the export failed ({why}); is the address right, and does it answer?") from error
