"""An index in PostgreSQL with pgvector. Row N of the index is row N of the table.

A writing is one transaction: all rows or none; the table's own indexes stay, and readers see the old rows until all new
ones are there. Each question looks at the id of the index in the same statement, so its rows are those of the index
that was opened.
"""

import contextlib
import queue
import struct
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from unreel.indexing.homes.address import HomeAddress, import_optional
from unreel.indexing.homes.home import (
    INDEX_RECORD,
    ROW_COLUMNS,
    Home,
    HomeChangedError,
    HomeContent,
    Record,
    RowQuestion,
    require_same_encoder,
)
from unreel.indexing.homes.records import make_write_records, read_description, read_newest_id, tidy_records

ROW_TYPES = ("bigint", "text", "double precision", "double precision", "text", "text")
COPY_TYPES = ("int8", "text", "float8", "float8", "text", "text")
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 10, 60
MAX_CONNECTIONS = 8  # kept open; more are made where more threads ask at once
BLOCK_ROWS = 8192  # in one answer
MAX_HNSW_WIDTH, MAX_EF_SEARCH, MIN_SCAN_TUPLES = 2000, 1000, 20_000  # limits of pgvector, and its default
ITERATIVE_SINCE = (0, 8)
T = TypeVar("T")
HINTS = {  # by the class or code of a SQLSTATE
    "28": "is this user allowed to connect, and is PGPASSWORD right?",
    "3D": "is the name of the database right?",
    "42501": "ask who runs the database for the rights on these tables",
    "53": "free some space or connections there, then run it again",
    "54": "is the address right, and does it answer?",
    "57014": f"it did not answer within {ANSWER_TIMEOUT_S} s; try again when it has less to do",
    "0A": "install pgvector there: CREATE EXTENSION vector",
    "58P01": "install pgvector there: CREATE EXTENSION vector",
}


class PostgresHome(Home):
    """Two tables of a PostgreSQL database."""

    max_ranges = 10**9  # they are one value, a multirange

    def __init__(self, address: HomeAddress) -> None:
        super().__init__(address)
        self.psycopg = import_optional("psycopg", "psycopg[binary]")
        self.sql = import_optional("psycopg.sql", "psycopg[binary]")
        self.idle: queue.LifoQueue[Any] = queue.LifoQueue(MAX_CONNECTIONS)
        weakref.finalize(self, _close_idle, self.idle)

    def read_records(self, name: str) -> list[Record]:
        query = "SELECT id, name, data, number FROM {records} WHERE name = %s ORDER BY position"
        return [Record(*row) for row in self._ask(query, (name,), if_missing=True)]

    def list_names(self, prefix: str) -> list[str]:
        query = "SELECT DISTINCT name FROM {records} WHERE starts_with(name, %s)"
        return sorted(row[0] for row in self._ask(query, (prefix,), if_missing=True))

    def add_records(self, records: Sequence[Record]) -> None:
        self._run(lambda connection: self._insert(connection, records))

    def delete_records(self, ids: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        self._run(lambda connection: self._delete(connection, ids, names))

    def count_rows(self) -> int:
        rows = self._ask("SELECT count(*) FROM {rows}", if_missing=True)
        return int(rows[0][0]) if rows else 0

    def find_nearest(self, question: RowQuestion) -> list[tuple[np.ndarray, np.ndarray]]:
        return self._run(lambda connection: [self._find(connection, q, question) for q in question.query_QD])

    def _find(self, connection: Any, query_D: np.ndarray, question: RowQuestion) -> tuple[np.ndarray, np.ndarray]:
        column = self.sql.Identifier(_name_column(question.vector))
        score = self.sql.SQL("({column} <#> %(query)s::vector)").format(column=column)
        # An index of the database answers to this expression alone; the negative of it is computed for every row.
        query = "SELECT row, (- {score})::real FROM {rows} WHERE {is_opened}{within} "
        query += "ORDER BY (- {score}) DESC, row LIMIT %(k)s"
        nearest = query.replace("(- {score}) DESC, row", "{score}")
        within = self.sql.SQL("" if question.ranges_R2 is None else " AND row <@ %(ranges)s::int8multirange")
        values = {"query": format_vector(query_D), "k": question.k, "ranges": format_ranges(question.ranges_R2)}
        with self._looking_at(connection, question.candidates):
            statement = nearest if question.candidates else query
            found = self._select(connection, statement, values, score=score, within=within)
        scores, rows = np.array([row[1] for row in found], np.float32), np.array([row[0] for row in found], np.int64)
        return scores, rows

    @contextlib.contextmanager
    def _looking_at(self, connection: Any, candidates: int) -> Iterator[None]:
        """With candidates, a transaction in which an index looks at as many rows, and at more where some are refused;
        strictly in order, since a question ends with the k-th row."""
        if not candidates:
            yield
            return
        with connection.transaction():
            connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            connection.execute(f"SET LOCAL hnsw.ef_search = {min(candidates, MAX_EF_SEARCH)}")
            connection.execute(f"SET LOCAL hnsw.max_scan_tuples = {max(4 * candidates, MIN_SCAN_TUPLES)}")
            yield

    def read_vectors(self, row_n: np.ndarray) -> np.ndarray:
        distinct_n, place_n = np.unique(row_n, return_inverse=True)
        query = "SELECT vector_send(embedding) FROM {rows} WHERE {is_opened} AND row = ANY(%(rows)s) ORDER BY row"
        found = self._ask_opened(query, {"rows": distinct_n.tolist()})
        if len(found) != len(distinct_n):
            raise self.fail(f"{len(found)} of {len(distinct_n)} rows answered", "write the index again")
        return parse_vectors([row[0] for row in found])[place_n]

    def read_block(self, first: int, stop: int) -> np.ndarray:
        query = "SELECT vector_send(embedding) FROM {rows} WHERE {is_opened} AND row >= %(first)s AND row < %(stop)s"
        blocks, query = [], query + " ORDER BY row"
        for start in range(first, stop, BLOCK_ROWS):
            values = {"first": start, "stop": min(start + BLOCK_ROWS, stop)}
            found = self._ask_opened(query, values)
            blocks.append(parse_vectors([row[0] for row in found]))
        return np.concatenate(blocks)

    def write(self, content: HomeContent, replace: bool) -> None:
        if replace:
            self._drop_approximate(content)
        with self._writing() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            inside = _InTransaction(self, connection)
            self._make_tables(connection, inside, content, replace)
            names = [*ROW_COLUMNS, *map(_name_column, content.widths)]
            columns = self.sql.SQL(", ").join(map(self.sql.Identifier, names))
            target = self._format("COPY {rows} ({columns}) FROM STDIN (FORMAT BINARY)", columns=columns)
            with connection.cursor() as cursor, cursor.copy(target) as copy:
                copy.set_types([*COPY_TYPES, *("bytea" for _ in content.widths)])
                for row in _iterate_copied_rows(content, self.batch_rows):
                    copy.write_row(row)
            inside.add_records(make_write_records(inside, content))
            tidy_records(inside, content.description)

    def _make_tables(self, connection: Any, inside: Home, content: HomeContent, replace: bool) -> None:
        """Make the tables, or empty that of the rows; one of an earlier version gets the columns that it lacks."""
        vectors = [(_name_column(name), f"vector({width})") for name, width in content.widths.items()]
        wanted = [*zip(ROW_COLUMNS, ROW_TYPES, strict=True), *vectors]
        existing = connection.execute(LIST_COLUMNS, (self.table,)).fetchall()
        if existing:
            plain = [column for column in wanted if not column[0].startswith("embedding_")]
            earlier = [column for column in plain if column[0] != "content_hash"]
            same = sorted(existing) in (sorted(wanted), sorted(plain), sorted(earlier))
            self.require_replaceable(replace, same)
        else:
            columns = ", ".join(" ".join(column) for column in wanted)
            connection.execute(self._format("CREATE TABLE {rows} (" + columns + ", PRIMARY KEY (row))"))
        connection.execute(
            self._format(
                "CREATE TABLE IF NOT EXISTS {records} (position bigserial, id text PRIMARY KEY, name text NOT NULL, "
                "number integer NOT NULL, data bytea NOT NULL)"
            )
        )
        connection.execute(self._format("CREATE INDEX IF NOT EXISTS {name_index} ON {records} (name)"))
        if existing:
            require_same_encoder(self, read_description(inside) or {}, content.description)
            connection.execute(self._format("DELETE FROM {rows}"))
            for name, type_ in [column for column in wanted if column not in existing]:
                connection.execute(self._format("ALTER TABLE {rows} ADD COLUMN " + f"{name} {type_}"))

    def make_approximate(self, widths: dict[str, int]) -> list[str]:
        """HNSW of pgvector; wider vectors than it takes are compared one by one."""
        names = [name for name, width in widths.items() if width <= MAX_HNSW_WIDTH]
        with self._writing() as connection:
            self._require_iterative_scans(connection)
            if read_newest_id(_InTransaction(self, connection)) != self.index_id:
                raise self.change_error()
            for name in names:
                column = self.sql.Identifier(_name_column(name))
                query = "CREATE INDEX IF NOT EXISTS {near} ON {rows} USING hnsw ({column} vector_ip_ops)"
                connection.execute(self._format(query, near=self._name_near_index(name), column=column))
        self._ask_nothing("ANALYZE {rows}")  # so that the planner knows when the index pays
        return names

    def _drop_approximate(self, content: HomeContent) -> None:
        """Without them rows are written many times faster. Who searches meanwhile has all rows compared."""
        before = read_description(self)
        if before is None:
            return
        require_same_encoder(self, before, content.description)
        for name in content.widths:
            self._ask_nothing("DROP INDEX IF EXISTS {near}", near=self._name_near_index(name))

    def _ask_nothing(self, statement: str, **parts: Any) -> None:
        self._run(lambda connection: connection.execute(self._format(statement, **parts)))

    def _name_near_index(self, vector: str) -> Any:
        return self.sql.Identifier(f"{self.table}_near_{vector or 'row'}")

    def _require_iterative_scans(self, connection: Any) -> None:
        """Raise InputError for a pgvector whose indexes answer a filter with too few rows."""
        found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        version = found[0] if found else "none"
        since = ".".join(map(str, ITERATIVE_SINCE))
        if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < ITERATIVE_SINCE:
            raise self.fail(
                f"approximate search needs pgvector {since} or later, there is {version}",
                "search exactly (--nearest exact), or update it there: ALTER EXTENSION vector UPDATE",
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        """A connection in a transaction that no other writing of this table overlaps."""
        with self._translating(), contextlib.closing(self._connect()) as connection, connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"unreel {self.table}",))
            yield connection

    def close(self) -> None:
        _close_idle(self.idle)

    def _insert(self, connection: Any, records: Sequence[Record]) -> None:
        query = "INSERT INTO {records} (id, name, number, data) VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO NOTHING"
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(self._format(query), [(r.id, r.name, r.number, r.data) for r in records])

    def _delete(self, connection: Any, ids: Sequence[str], names: Sequence[str]) -> None:
        query = "DELETE FROM {records} WHERE id = ANY(%s) OR name = ANY(%s)"
        connection.execute(self._format(query), (list(ids), list(names)))

    def _ask(self, query: str, values: Sequence[Any] = (), if_missing: bool = False) -> list[Any]:
        """The rows of an answer; none where a table is missing and `if_missing`."""

        def ask(connection: Any) -> list[Any]:
            try:
                return list(connection.cursor(binary=True).execute(self._format(query), values or None).fetchall())
            except self.psycopg.errors.UndefinedTable:
                if if_missing:
                    return []
                raise

        return self._run(ask)

    def _ask_opened(self, query: str, values: dict[str, Any]) -> list[Any]:
        return self._run(lambda connection: self._select(connection, query, values))

    def _select(self, connection: Any, query: str, values: dict[str, Any], **parts: Any) -> list[Any]:
        """The rows of an answer, in binary. Raises HomeChangedError for none: the index was replaced since."""
        is_opened = self._format(
            "(SELECT id FROM {records} WHERE name = %(index)s ORDER BY position DESC LIMIT 1) = %(opened)s"
        )
        values = values | {"index": INDEX_RECORD, "opened": f"{INDEX_RECORD}/{self.index_id}"}
        statement = self._format(query, is_opened=is_opened, **parts)
        try:
            found = list(connection.cursor(binary=True).execute(statement, values).fetchall())
        except self.psycopg.errors.UndefinedTable:
            found = []
        if not found:
            raise HomeChangedError(
                f"{self.address}: the index was replaced since it was opened", "open it again, or load the page again"
            )
        return found

    def _format(self, query: str, **parts: Any) -> Any:
        names = {"rows": self.table, "records": self.records_table, "name_index": f"{self.records_table}_name"}
        return self.sql.SQL(query).format(**{n: self.sql.Identifier(name) for n, name in names.items()}, **parts)

    def _connect(self) -> Any:
        with self._translating():
            timeout = {} if "connect_timeout" in self.address.place else {"connect_timeout": CONNECT_TIMEOUT_S}
            connection = self.psycopg.connect(self.address.place, autocommit=True, **timeout)
            connection.execute(f"SET statement_timeout = {ANSWER_TIMEOUT_S * 1000}")
            connection.execute("SET client_min_messages = warning")
            return connection

    def _run(self, function: Callable[[Any], T]) -> T:
        """What a function gives with a connection; asked again with a new one where a kept one was cut meanwhile."""
        with self._translating():
            with contextlib.suppress(queue.Empty):
                connection = self.idle.get_nowait()
                try:
                    return self._use(connection, function)
                except (self.psycopg.OperationalError, self.psycopg.InterfaceError):
                    if not connection.closed:
                        raise
            return self._use(self._connect(), function)

    def _use(self, connection: Any, function: Callable[[Any], T]) -> T:
        try:
            return function(connection)
        finally:
            try:
                if connection.closed:
                    raise queue.Full
                self.idle.put_nowait(connection)
            except queue.Full:
                connection.close()

    @contextlib.contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except self.psycopg.Error as error:
            state = getattr(error, "sqlstate", None) or _guess_state(str(error))
            hint = next((HINTS[key] for key in (state, state[:2]) if key in HINTS), "")
            with self.translate_errors(self.psycopg.Error, hint=hint):
                raise


def _close_idle(idle: "queue.LifoQueue[Any]") -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            idle.get_nowait().close()


class _InTransaction(PostgresHome):
    """The records of a home as a transaction sees and changes them."""

    def __init__(self, home: PostgresHome, connection: Any) -> None:
        super().__init__(home.address)
        self.connection = connection

    def _run(self, function: Callable[[Any], T]) -> T:
        return function(self.connection)


def _guess_state(text: str) -> str:
    """The class of a SQLSTATE that a refused connection has no other sign of than its words."""
    if "authentication failed" in text or "no password" in text or ("role " in text and "does not exist" in text):
        return "28"
    return "3D" if "database " in text and "does not exist" in text else ""


LIST_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attnum > 0 AND NOT attisdropped AND attrelid = to_regclass(quote_ident(%s)) ORDER BY attnum
"""


def _iterate_copied_rows(content: HomeContent, batch_rows: int) -> Iterator[tuple[Any, ...]]:
    for columns, vectors in content.iterate_batches(batch_rows):
        packed = [pack_vectors(vectors_nD) for vectors_nD in vectors.values()]
        yield from zip(*(columns[name] for name in ROW_COLUMNS), *packed, strict=True)


def _name_column(vector: str) -> str:
    return f"embedding_{vector}" if vector else "embedding"


def format_vector(vector_D: np.ndarray) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(f"{x:.9g}" for x in vector_D.tolist()) + "]"


def format_ranges(ranges_R2: np.ndarray | None) -> str | None:
    """Ranges of rows as a multirange."""
    if ranges_R2 is None:
        return None
    return "{" + ",".join(f"[{first},{stop})" for first, stop in ranges_R2.tolist()) + "}"


def pack_vectors(vectors_nD: np.ndarray) -> list[bytes]:
    """Vectors in pgvector's binary form: width and a zero, 16 bits each, and the numbers, all big-endian."""
    header = struct.pack(">HH", vectors_nD.shape[1], 0)
    return [header + vector_D.tobytes() for vector_D in vectors_nD.astype(">f4")]


def parse_vectors(packed: Sequence[bytes]) -> np.ndarray:
    """`pack_vectors` turned back, float32 (n, D)."""
    if not packed:
        return np.zeros((0, 0), np.float32)
    flat = np.frombuffer(b"".join(packed), ">f4").reshape(len(packed), -1)
    return flat[:, 1:].astype(np.float32)
