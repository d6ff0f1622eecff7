"""The page over an index in a PostgreSQL database, which several servers share, and which comes and goes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from unreel.errors import InputError
from unreel.indexing.index.clip_index import Index
from unreel.serve import index_source
from unreel.serve.app import build_app
from unreel.serve.media.uploads import UploadLimits
from unreel.serve.state import ServeOptions, ServerState
from unreel.verbs.indexing.export import export

DATABASE = "unreel_page"


def run(postgres: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="module")
def address(postgres: str, index: Index) -> str:
    """A database of its own in the server, which a test may close."""
    run(postgres, f"CREATE DATABASE {DATABASE}")
    place = f"postgres:{postgres.replace('/postgres?', f'/{DATABASE}?')}"
    export(index, place)
    return place


@pytest.fixture
def pages(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[TestClient]]:
    """Two servers over one database, which look at it each time; without the processes that embed queries."""
    monkeypatch.setattr(index_source, "STAMP_S", 0.0)
    states = [ServerState(address, ServeOptions(UploadLimits(), 10**8, tmp_path / str(n))) for n in range(2)]
    yield [TestClient(build_app(state), "http://127.0.0.1", raise_server_exceptions=False) for state in states]
    for state in states:
        state.close()


def ask(page: TestClient, **body: Any) -> Any:
    about = page.get("/api/index").json()
    return page.post("/api/search", json={"of": about["id"], "like": [3], "count": 4} | body)


def test_two_pages_share_a_database(pages: list[TestClient], index: Index) -> None:
    about = pages[0].get("/api/index").json()
    assert about["name"] == "postgres-unreel" and about["rows"] == len(index.rows) and about["slider"]
    assert about["nearest"].endswith("postgres: exact") and about["id"] == pages[1].get("/api/index").json()["id"]
    hits = ask(pages[0]).json()["hits"]
    assert len(hits) == 4 and hits == ask(pages[1]).json()["hits"]
    assert pages[0].get(f"/api/{about['id']}/videos/{hits[0]['video']}/file").status_code == 200
    for page, rows in zip(pages, ((3, 4), (60,)), strict=True):
        saved = page.post("/api/concepts", json={"of": about["id"], "name": "jump", "yes": rows, "no": [30]})
        assert saved.json()["concepts"] == ["jump"], saved.text
    marks = pages[0].get(f"/api/{about['id']}/concepts/jump").json()
    assert sorted(hit["rows"][0] for hit in marks["yes"]) == [3, 4, 60] and len(marks["no"]) == 1
    ranked = [page.post("/api/rank", json={"of": about["id"], "concept": "jump"}).json()["hits"] for page in pages]
    assert ranked[0] == ranked[1] and ranked[0]
    assert pages[1].get("/api/status").json()["served"]["rows"] == len(index.rows)


def test_a_page_outlives_its_database(pages: list[TestClient], postgres: str, address: str, index: Index) -> None:
    """Away, back, and written again."""
    page, of = pages[0], pages[0].get("/api/index").json()["id"]
    run(postgres, f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
    run(postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'")
    for answer in (
        page.post("/api/search", json={"of": of, "like": [3]}),
        page.post("/api/concepts", json={"of": of, "name": "jump", "yes": [1], "no": []}),
    ):
        assert answer.status_code == 503, answer.text
        assert "not currently accepting connections" in answer.json()["error"] and "@" not in answer.text.replace(
            "***@", ""
        )
    status = page.get("/api/status").json()
    assert "not currently accepting connections" in status["problem"] and not status["reload"]
    assert page.get("/").status_code == 200
    with pytest.raises(InputError, match="not currently accepting connections"):
        ServerState(address)
    run(postgres, f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true")
    assert len(ask(page).json()["hits"]) == 4 and page.get("/api/status").json()["problem"] == ""
    export(index, address, replace=True)
    answer = page.post("/api/search", json={"of": of, "like": [3]})
    assert answer.status_code == 409 and "replaced since it was opened" in answer.json()["error"]
    assert page.get("/api/status").json()["reload"]
    assert page.post("/api/reload", json={}).json()["id"] == of  # the same rows
    assert len(ask(page).json()["hits"]) == 4 and not page.get("/api/status").json()["reload"]
