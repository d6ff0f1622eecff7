"""An index in Qdrant: on a server (http(s)://...), or in a folder that one process at a time opens. Point N is row N.

Qdrant has no transactions. So a writing first says that it fills the collection (FILLING_RECORD) and last that it is
whole; who reads looks after each answer whether the index is still the one that was opened.
"""

import atexit
import base64
import contextlib
import os
import re
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from unreel.indexing.homes.address import HomeAddress, import_optional
from unreel.indexing.homes.home import (
    FILLING_RECORD,
    INDEX_RECORD,
    ROW_COLUMNS,
    Home,
    HomeContent,
    HomeDownError,
    Record,
    RowQuestion,
    require_same_encoder,
)
from unreel.indexing.homes.records import make_write_records, read_description, tidy_records

ROW_VECTOR = "row"  # the name of the whole row's vector where the ends of the slider have vectors too
TIMEOUT_S, INDEXING_TIMEOUT_S = 60, 3600
READ_ROWS, READ_RECORDS = 512, 8  # in one answer
T = TypeVar("T")
_FOLDER_LOCK = threading.RLock()  # a client of a folder is for one thread at a time
_FOLDER_CLIENTS: dict[str, tuple[Any, int]] = {}


class QdrantHome(Home):
    """Two collections of a Qdrant server or folder."""

    batch_rows: ClassVar[int] = 256  # a server takes at most 32 MB of JSON in one call

    def __init__(self, address: HomeAddress) -> None:
        super().__init__(address)
        self.qdrant = import_optional("qdrant_client", "qdrant-client")
        self.models = self.qdrant.models
        self.api_error = import_optional("qdrant_client.http.exceptions", "qdrant-client").ApiException
        self.is_server = address.place.startswith(("http://", "https://"))
        if not self.is_server and re.fullmatch(r"[\w.-]+:\d+", address.place):
            raise self.fail("neither a server nor a folder", f"did you mean qdrant:http://{address.place}?")
        self.lock: Any = contextlib.nullcontext() if self.is_server else _FOLDER_LOCK
        self.kept_client: Any = None
        self.row_vector = ""

    def read_records(self, name: str) -> list[Record]:
        points = self._scroll(self._match(name=name), True)
        return [
            Record(p["id"], p["name"], base64.b64decode(p["data"]), p["number"]) for p in sorted(points, key=_arrival)
        ]

    def list_names(self, prefix: str) -> list[str]:
        points = self._scroll(self._match(kind=prefix.partition("/")[0]), ["name", "time_ns", "number"])
        return sorted({point["name"] for point in points if point["name"].startswith(prefix)})

    def add_records(self, records: Sequence[Record]) -> None:
        for record in records:
            payload = {
                **{"id": record.id, "name": record.name, "kind": record.name.partition("/")[0]},
                **{"number": record.number, "time_ns": time.time_ns()},
                "data": base64.b64encode(record.data).decode(),
            }
            point = self.models.PointStruct(id=_point_id(record.id), vector={}, payload=payload)
            self._call("upsert", self.records_table, [point])

    def delete_records(self, ids: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        if ids:
            points = self.models.PointIdsList(points=[_point_id(id_) for id_ in ids])
            self._call("delete", self.records_table, points)
        for name in names:
            chosen = self.models.FilterSelector(filter=self._match(name=name))
            self._call("delete", self.records_table, chosen)

    def count_rows(self) -> int:
        exists = not self._is_missing() and self._call("collection_exists", self.table)
        return int(self._call("count", self.table).count) if exists else 0

    def open_index(self, description: dict[str, Any]) -> None:
        super().open_index(description)
        self.row_vector = ROW_VECTOR if len(description["widths"]) > 1 else ""

    def find_nearest(self, question: RowQuestion) -> list[tuple[np.ndarray, np.ndarray]]:
        request = {
            "using": question.vector or self.row_vector or None,
            "filter": self._make_filter(question.ranges_R2),
            "params": self._make_search_params(question) if self.is_server else None,
            "limit": question.k,
        }
        requests = [self.models.QueryRequest(query=query_D.tolist(), **request) for query_D in question.query_QD]
        answers = self._call("query_batch_points", self.table, requests, timeout=TIMEOUT_S)
        self._require_opened()
        return [
            (np.array([p.score for p in answer.points], np.float32), np.array([p.id for p in answer.points], np.int64))
            for answer in answers
        ]

    def read_vectors(self, row_n: np.ndarray) -> np.ndarray:
        distinct_n, place_n = np.unique(row_n, return_inverse=True)
        vectors: dict[int, list[float]] = {}
        for first in range(0, len(distinct_n), READ_ROWS):
            ids = distinct_n[first : first + READ_ROWS].tolist()
            chosen: Any = [self.row_vector] if self.row_vector else True
            points = self._call("retrieve", self.table, ids, with_payload=False, with_vectors=chosen)
            vectors |= {p.id: p.vector[self.row_vector] if self.row_vector else p.vector for p in points}
        self._require_opened()
        if len(vectors) != len(distinct_n):
            raise self.fail(f"{len(vectors)} of {len(distinct_n)} rows answered", "write the index again")
        return np.array([vectors[row] for row in distinct_n.tolist()], np.float32)[place_n]

    def read_block(self, first: int, stop: int) -> np.ndarray:
        return self.read_vectors(np.arange(first, stop))

    def write(self, content: HomeContent, replace: bool) -> None:
        config, before = self._make_config(content.widths), None
        exists = not self._is_missing() and self._call("collection_exists", self.table)
        if exists:
            self.require_replaceable(replace, self._is_ours(content.widths))
            before = read_description(self)
            require_same_encoder(self, before or {}, content.description)
        self._make_records_table()
        filling = Record(f"{FILLING_RECORD}/{content.description['id']}", FILLING_RECORD, b"{}")
        if exists:
            self.add_records([filling])
        is_outdated = exists and not self._has_config(content.widths)
        if is_outdated:  # a collection of an earlier version can't get more vectors
            self._call("delete_collection", self.table)
        if not exists or is_outdated:
            self._call("create_collection", self.table, vectors_config=config)
        try:
            self._put_rows(content)
        except BaseException:
            if not exists:
                self._call("delete_collection", self.table)
            raise
        beyond = self.models.FieldCondition(key="row", range=self.models.Range(gte=content.num_rows))
        chosen = self.models.FilterSelector(filter=self.models.Filter(must=[beyond]))
        self._call("delete", self.table, chosen)
        self.add_records(make_write_records(self, content))
        tidy_records(self, content.description)

    def _put_rows(self, content: HomeContent) -> None:
        for columns, vectors in content.iterate_batches(self.batch_rows):
            names = list(columns)
            payloads = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            lists = {name or ROW_VECTOR: vectors_nD.tolist() for name, vectors_nD in vectors.items()}
            batch = self.models.Batch(
                ids=columns["row"], vectors=lists if len(lists) > 1 else lists[ROW_VECTOR], payloads=payloads
            )
            self._call("upsert", self.table, batch)

    def make_approximate(self, widths: dict[str, int]) -> list[str]:
        """A server makes HNSW by itself; this waits for it, since what is measured before is better than it will be. A
        folder compares all rows."""
        if not self.is_server:
            return []
        self._call("create_payload_index", self.table, "row", "integer")  # else a filter finds too few
        for _ in range(INDEXING_TIMEOUT_S):
            if self._call("get_collection", self.table).status == self.models.CollectionStatus.GREEN:
                self._require_opened()
                return list(widths)
            time.sleep(1)
        raise HomeDownError(
            f"{self.address}: the database still makes its index, after {INDEXING_TIMEOUT_S} s",
            "ask again later, or search exactly (--nearest exact)",
        )

    def _make_search_params(self, question: RowQuestion) -> Any:
        if not question.candidates:
            return self.models.SearchParams(exact=True)
        return self.models.SearchParams(exact=False, hnsw_ef=max(question.candidates, question.k))

    def close(self) -> None:
        with self.lock:
            client, self.kept_client = self.kept_client, None
            if client is not None and not _release(client):
                client.close()

    def _make_records_table(self) -> None:
        def make(client: Any) -> None:
            if client.collection_exists(self.records_table):
                return
            client.create_collection(self.records_table, vectors_config={})
            if self.is_server:
                for field in ("name", "kind"):
                    client.create_payload_index(self.records_table, field, "keyword")

        self._run(make)

    def _make_config(self, widths: dict[str, int]) -> Any:
        params = {
            name or ROW_VECTOR: self.models.VectorParams(size=width, distance=self.models.Distance.DOT)
            for name, width in widths.items()
        }
        return params if len(params) > 1 else params[ROW_VECTOR]

    def _read_sizes(self) -> dict[str, tuple[int, Any]]:
        """Width and distance of each vector of the collection; an unnamed one is that of the row."""
        vectors = self._call("get_collection", self.table).config.params.vectors
        named = vectors if isinstance(vectors, dict) else {ROW_VECTOR: vectors}
        return {name: (params.size, params.distance) for name, params in named.items()}

    def _has_config(self, widths: dict[str, int]) -> bool:
        wanted = {name or ROW_VECTOR: (width, self.models.Distance.DOT) for name, width in widths.items()}
        return self._read_sizes() == wanted

    def _is_ours(self, widths: dict[str, int]) -> bool:
        """Whether the collection has our vector of a row, and its first point, if any, our payload."""
        points, _ = self._call("scroll", self.table, limit=1)
        known = (set(ROW_COLUMNS), {*ROW_COLUMNS} - {"content_hash"})
        is_row = self._read_sizes().get(ROW_VECTOR) == (widths[""], self.models.Distance.DOT)
        return is_row and all(set(point.payload) in known for point in points)

    def _require_opened(self) -> None:
        """Raise HomeChangedError where the index was replaced since it was opened, or is being replaced."""
        points = self._scroll(self._match(kind=(INDEX_RECORD, FILLING_RECORD)), ["id", "name", "time_ns", "number"])
        names = {point["name"] for point in points}
        newest = max(points, key=_arrival)["id"] if points else ""
        if FILLING_RECORD in names or newest != f"{INDEX_RECORD}/{self.index_id}":
            raise self.change_error()

    def _match(self, **fields: str | Sequence[str]) -> Any:
        conditions = [
            self.models.FieldCondition(
                key=key,
                match=self.models.MatchValue(value=value)
                if isinstance(value, str)
                else self.models.MatchAny(any=list(value)),
            )
            for key, value in fields.items()
        ]
        return self.models.Filter(must=conditions)

    def _make_filter(self, ranges_R2: np.ndarray | None) -> Any:
        if ranges_R2 is None:
            return None
        ranges = [self.models.Range(gte=first, lt=stop) for first, stop in ranges_R2.tolist()]
        return self.models.Filter(should=[self.models.FieldCondition(key="row", range=r) for r in ranges])

    def _scroll(self, chosen: Any, fields: Any) -> list[dict[str, Any]]:
        """The payloads of records; none where there are none yet."""

        def scroll(client: Any) -> list[dict[str, Any]]:
            if not client.collection_exists(self.records_table):
                return []
            found, offset, first = list[dict[str, Any]](), None, True
            limit = READ_RECORDS if fields is True else 1000
            while first or offset is not None:
                points, offset = client.scroll(
                    self.records_table, scroll_filter=chosen, limit=limit, offset=offset, with_payload=fields
                )
                found, first = found + [point.payload for point in points], False
            return found

        return [] if self._is_missing() else self._run(scroll)

    def _is_missing(self) -> bool:
        """Whether there is no folder yet: a client would make it."""
        return not self.is_server and self.kept_client is None and not os.path.isdir(self.address.place)

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        """What a method of the client gives."""
        return self._run(lambda client: getattr(client, name)(*args, **options))

    def _run(self, function: Callable[[Any], T]) -> T:
        """What a function gives with the client. A folder is read and written by one thread at a time."""
        with self._translating(), self.lock:
            if self.kept_client is None:
                self.kept_client = self._connect()
            return function(self.kept_client)

    def _connect(self) -> Any:
        if not self.is_server:
            return _share(os.path.realpath(self.address.place), self.qdrant.QdrantClient)
        key = os.environ.get("QDRANT_API_KEY") or None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a key for a server on this machine
            # `check_compatibility` would start a thread that asks for the version.
            return self.qdrant.QdrantClient(
                url=self.address.place, api_key=key, timeout=TIMEOUT_S, check_compatibility=False
            )

    @contextlib.contextmanager
    def _translating(self) -> Iterator[None]:
        hint = "" if self.is_server else "is another process using this folder? Several need a Qdrant server"
        with self.translate_errors(OSError, RuntimeError, ValueError, self.api_error, hint=hint):
            yield


def _share(path: str, make: Callable[..., Any]) -> Any:
    """The client of a folder, which a process opens once; its users are counted."""
    client, num_users = _FOLDER_CLIENTS.get(path) or (make(path=path), 0)
    if not num_users:
        atexit.register(client.close)  # later it would find the interpreter half gone
    _FOLDER_CLIENTS[path] = client, num_users + 1
    return client


def _release(client: Any) -> bool:
    """Whether others of this process use the client of a folder too."""
    for path, (shared, num_users) in list(_FOLDER_CLIENTS.items()):
        if shared is client:
            _FOLDER_CLIENTS[path] = shared, num_users - 1
            if num_users > 1:
                return True
            del _FOLDER_CLIENTS[path]
    return False


def _point_id(record_id: str) -> str:
    """Points have numbers or UUIDs."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"unreel:{record_id}"))


def _arrival(payload: dict[str, Any]) -> tuple[int, int, str]:
    return payload["time_ns"], payload["number"], payload.get("id", "")
