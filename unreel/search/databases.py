"""An index as a table of a vector database, for those who outgrow one machine. Row N of the index is row N there."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from unreel.errors import InputError
from unreel.search.export import batches
from unreel.search.index import Index


def to_lancedb(index: Index, place: str, table: str = "unreel") -> None:
    """A LanceDB table in the folder or address `place`: row, video, start_s, end_s, label, vector."""
    lancedb = needed("lancedb", "lancedb")
    dim = index.vectors_ND.shape[1]
    names = [("row", pa.int64()), ("video", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())]
    schema = pa.schema([*names, ("label", pa.string()), ("vector", pa.list_(pa.float32(), dim))])

    def filled() -> Iterator[pa.RecordBatch]:
        for _, said, vectors_nD in batches(index):
            columns = [pa.array([who[name] for who in said], schema.field(name).type) for name in said[0]]
            flat = pa.array(np.ascontiguousarray(vectors_nD).ravel())
            yield pa.RecordBatch.from_arrays([*columns, pa.FixedSizeListArray.from_arrays(flat, dim)], schema=schema)

    with told(place, OSError, RuntimeError, ValueError):
        database = lancedb.connect(place)
        if table in database.list_tables().tables:
            raise there_already(place, table)
        database.create_table(table, data=filled(), schema=schema)


def to_qdrant(index: Index, place: str, table: str = "unreel") -> None:
    """A Qdrant collection on the server at http(s)://..., or in a folder (its local mode); point N is row N.

    It is taken away again when not all rows arrive.
    """
    qdrant = needed("qdrant_client", "qdrant-client")
    remote = place.startswith(("http://", "https://"))
    models, failures = qdrant.models, needed("qdrant_client.http.exceptions", "qdrant-client")
    with told(place, OSError, RuntimeError, ValueError, failures.ApiException):
        client = qdrant.QdrantClient(url=place) if remote else qdrant.QdrantClient(path=place)
        with contextlib.closing(client):
            if client.collection_exists(table):
                raise there_already(place, table)
            params = models.VectorParams(size=index.vectors_ND.shape[1], distance=models.Distance.DOT)
            client.create_collection(table, vectors_config=params)
            try:
                for first, said, vectors_nD in batches(index):
                    ids = list(range(first, first + len(said)))
                    client.upsert(table, models.Batch(ids=ids, vectors=vectors_nD.tolist(), payloads=said))
            except BaseException:
                client.delete_collection(table)
                raise


def to_pgvector(index: Index, place: str, table: str = "unreel") -> None:
    """A table of a PostgreSQL server with pgvector: row, video, start_s, end_s, label, embedding; all rows or none."""
    psycopg, sql = needed("psycopg", "psycopg[binary]"), needed("psycopg.sql", "psycopg[binary]")
    name, dim = sql.Identifier(table), sql.SQL(str(index.vectors_ND.shape[1]))
    columns = "row bigint PRIMARY KEY, video text, start_s float8, end_s float8, label text, embedding vector"
    with told("the PostgreSQL server", psycopg.Error), psycopg.connect(place) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        if cursor.execute("SELECT 1 FROM pg_tables WHERE tablename = %s", (table,)).fetchone():
            raise there_already("the PostgreSQL server", table)
        cursor.execute(sql.SQL("CREATE TABLE {} (" + columns + "({}))").format(name, dim))
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
            for _, said, vectors_nD in batches(index):
                for who, vector_D in zip(said, vectors_nD, strict=True):
                    copy.write_row((*who.values(), "[" + ",".join(f"{x:.9g}" for x in vector_D) + "]"))


def needed(module: str, package: str) -> Any:
    """A library that only these need. Raises InputError that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"this needs {package}, which is not installed ({error}): pip install '{package}'") from error


def there_already(place: str, table: str) -> InputError:
    return InputError(f"{place}: a table '{table}' is there already; nothing was changed. Choose another --table")


@contextlib.contextmanager
def told(place: str, *failures: type[Exception]) -> Iterator[None]:
    """What a database says when it fails, in one line, as InputError."""
    try:
        yield
    except failures as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{place}: the export failed ({why}); is the address right, and does it answer?") from error
