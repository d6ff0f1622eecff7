"""Export an index as a table of a vector database. Row N of the index is row N of the table.

An existing table is not changed, unless `replace` is given and it has the columns of a table made here.
"""

import contextlib
import datetime
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.errors import InputError
from unreel.indexing.export.row_batches import ROW_COLUMNS, iterate_batches
from unreel.indexing.index.clip_index import Index

QDRANT_BATCH_ROWS = 256  # its server takes at most 32 MB of JSON in one call


def to_lancedb(index: Index, target: str, table: str = "unreel", replace: bool = False) -> None:
    """A LanceDB table in a folder or at an address: row, video, start_s, end_s, label, vector.

    A replaced table loses its own indexes; readers see the old rows until all new ones are written.
    """
    lancedb = import_optional("lancedb", "lancedb")
    types = (pa.int64(), pa.string(), pa.float64(), pa.float64(), pa.string())
    dim = index.vectors_ND.shape[1]
    schema = pa.schema([*zip(ROW_COLUMNS, types, strict=True), ("vector", pa.list_(pa.float32(), dim))])

    def make_batches() -> Iterator[pa.RecordBatch]:
        for _, rows, vectors_nD in iterate_batches(index):
            columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in ROW_COLUMNS]
            flat = pa.array(np.ascontiguousarray(vectors_nD).ravel())
            yield pa.RecordBatch.from_arrays([*columns, pa.FixedSizeListArray.from_arrays(flat, dim)], schema=schema)

    with translate_errors(target, OSError, RuntimeError, ValueError):
        database = lancedb.connect(target)
        exists = table in database.list_tables().tables
        if exists:
            require_replaceable(target, table, replace, database.open_table(table).schema == schema)
        mode = "overwrite" if exists else "create"
        written = database.create_table(table, data=make_batches(), schema=schema, mode=mode)
        written.optimize(cleanup_older_than=datetime.timedelta(days=1))  # delete the copies of earlier replacements


def to_qdrant(index: Index, target: str, table: str = "unreel", replace: bool = False) -> None:
    """A Qdrant collection on a server (http(s)://...) or in a folder (local mode); point N is row N.

    A new collection is deleted when not all rows arrive. A replaced one keeps its settings: its points are overwritten,
    then those beyond the last row deleted.
    """
    qdrant = import_optional("qdrant_client", "qdrant-client")
    location = {"url": target} if target.startswith(("http://", "https://")) else {"path": target}
    models, failures = qdrant.models, import_optional("qdrant_client.http.exceptions", "qdrant-client")
    params = models.VectorParams(size=index.vectors_ND.shape[1], distance=models.Distance.DOT)
    with translate_errors(target, OSError, RuntimeError, ValueError, failures.ApiException):
        client = qdrant.QdrantClient(
            **location, check_compatibility=False
        )  # without a thread that asks for the version
        with contextlib.closing(client):
            exists = client.collection_exists(table)
            if exists:
                require_replaceable(target, table, replace, _is_ours(client, table, params))
            else:
                client.create_collection(table, vectors_config=params)
            try:
                for first, rows, vectors_nD in iterate_batches(index, QDRANT_BATCH_ROWS):
                    ids = list(range(first, first + len(rows)))
                    client.upsert(table, models.Batch(ids=ids, vectors=vectors_nD.tolist(), payloads=rows))
            except BaseException:
                if not exists:
                    client.delete_collection(table)
                raise
            beyond = models.FieldCondition(key="row", range=models.Range(gte=len(index.rows)))
            client.delete(table, models.FilterSelector(filter=models.Filter(must=[beyond])))


def _is_ours(client: Any, table: str, params: Any) -> bool:
    """Whether a collection has our kind of vectors, and its first point, if any, our payload."""
    vectors = client.get_collection(table).config.params.vectors
    points, _ = client.scroll(table, limit=1)
    same = (getattr(vectors, "size", None), getattr(vectors, "distance", None)) == (params.size, params.distance)
    return same and all(set(point.payload) == set(ROW_COLUMNS) for point in points)


def to_pgvector(index: Index, target: str, table: str = "unreel", replace: bool = False) -> None:
    """A table of a PostgreSQL server with pgvector: row, video, start_s, end_s, label, embedding; all rows or none.

    A replaced table is emptied and filled in one transaction: its indexes stay, and readers see the old rows until all
    new ones are written.
    """
    psycopg, sql = import_optional("psycopg", "psycopg[binary]"), import_optional("psycopg.sql", "psycopg[binary]")
    name, types = sql.Identifier(table), ("bigint", "text", "double precision", "double precision", "text")
    columns = [*zip(ROW_COLUMNS, types, strict=True), ("embedding", f"vector({index.vectors_ND.shape[1]})")]
    with translate_errors("the PostgreSQL server", psycopg.Error), psycopg.connect(target) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        list_columns = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 "
        list_columns += "AND NOT attisdropped AND attrelid = to_regclass(quote_ident(%s)) ORDER BY attnum"
        if existing := cursor.execute(list_columns, (table,)).fetchall():
            require_replaceable("the PostgreSQL server", table, replace, existing == columns)
            cursor.execute(sql.SQL("DELETE FROM {}").format(name))
        else:
            column_list = ", ".join(" ".join(column) for column in columns)
            cursor.execute(sql.SQL("CREATE TABLE {} (" + column_list + ", PRIMARY KEY (row))").format(name))
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
            for _, rows, vectors_nD in iterate_batches(index):
                for row, vector_D in zip(rows, vectors_nD, strict=True):
                    copy.write_row((*row.values(), "[" + ",".join(f"{x:.9g}" for x in vector_D) + "]"))


def import_optional(module: str, package: str) -> Any:
    """Import a library that only this export needs. Raises InputError with the command to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"this needs {package}, which is not installed ({error}): pip install '{package}'") from error


def require_replaceable(target: str, table: str, replace: bool, has_our_columns: bool) -> None:
    """Raise InputError for an existing table, unless it may be replaced and has our columns."""
    if not replace:
        raise InputError(f"{target}: a table '{table}' is there already; nothing was changed. Choose another --table")
    if not has_our_columns:
        raise InputError(
            f"{target}: the table '{table}' has other columns than unreel's for this index, or vectors of another "
            "width; nothing was changed. Choose another --table"
        )


@contextlib.contextmanager
def translate_errors(target: str, *failures: type[Exception]) -> Iterator[None]:
    """Raise InputError, of one line, in place of a database's errors."""
    try:
        yield
    except failures as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{target}: the export failed ({reason}); is the address right, and does it answer?"
        ) from error
