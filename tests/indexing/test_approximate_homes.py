"""Approximate search in databases: hits beside exact ones, recall as it is measured and shown, filters."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from commands import refused, succeeds
from starlette.testclient import TestClient

from unreel.errors import InputError
from unreel.indexing.homes import approximate, home_rows, postgres_home
from unreel.indexing.homes.address import HOME_KINDS, HomeAddress, parse_address
from unreel.indexing.homes.approximate import choose_search, make_approximation
from unreel.indexing.homes.content import ROWS_PARQUET, pack_rows, slider_ends
from unreel.indexing.homes.home import Home, HomeChangedError, Record, RowQuestion, connect_home
from unreel.indexing.homes.home_rows import HomeSearch, HomeVectors
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.homes.records import read_approximation, read_newest_id
from unreel.indexing.index.approximate.ann_index import AnnIndex, ExactRows
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.clip_index import Index, read_rows
from unreel.indexing.index.query_vector import weight_parts
from unreel.indexing.index.row_filter import RowFilter
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.search.query import SearchQuery
from unreel.indexing.search.results import HitOptions
from unreel.models.encoder.row_parts import scale_parts
from unreel.serve.app import build_app
from unreel.serve.media.uploads import UploadLimits
from unreel.serve.state import ServeOptions, ServerState
from unreel.verbs.indexing.export import export
from unreel.verbs.indexing.search import search

NUM_ROWS, PER_VIDEO = 600, 20
ALL = "approximate: finds 100 of 100 of the nearest 10"


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 20,000 rows all are compared, and where a quarter of the rows would be candidates."""
    monkeypatch.setattr(BuildOptions, "flat_below", 50)
    monkeypatch.setattr(home_rows, "LARGEST_SHARE", 1.0)
    monkeypatch.setattr(approximate, "MOST_CANDIDATES", approximate.FIRST_CANDIDATES)
    monkeypatch.setattr(approximate, "NUM_QUERIES", 16)


@pytest.fixture(scope="session")
def many(motion_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index of many rows in clusters, its encoder that of `motion_index`."""
    opened, rng, row_N = open_index(motion_index), np.random.default_rng(0), np.arange(NUM_ROWS)
    name_N = pa.chunked_array([[f"v/{row // PER_VIDEO}.mp4" for row in row_N]])
    label_N = pa.chunked_array([["ab"[row % 2] for row in row_N]])
    start_s = row_N % PER_VIDEO * 2.0
    path = tmp_path_factory.mktemp("many") / ROWS_PARQUET
    path.write_bytes(pack_rows(RowTable.from_columns(name_N, label_N, name_N, start_s, start_s + 1)))
    rows, fingerprint = read_rows([path])
    near_ND = rng.standard_normal((30, opened.vectors_ND.shape[1]))[row_N % 30]
    split = opened.parts.split((near_ND + rng.standard_normal(near_ND.shape)).astype(np.float32))
    vectors_ND = scale_parts(split, np.sqrt(opened.parts.weight_P))
    ann_index = AnnIndex.build(vectors_ND, BuildOptions(flat_below=10**6), fingerprint)
    return dataclasses.replace(opened, rows=rows, vectors_ND=vectors_ND, ann_index=ann_index, scale=None)


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], str]:
    folder = tmp_path_factory.mktemp("homes")

    def place(kind: str) -> str:
        pytest.importorskip(HOME_KINDS[kind].module)
        return f"postgres:{request.getfixturevalue('postgres')}" if kind == "postgres" else f"{kind}:{folder / kind}"

    return place


def ask_postgres(address: str, statement: str) -> list[tuple[object, ...]]:
    import psycopg

    parsed = parse_address(address)
    assert parsed is not None
    with psycopg.connect(parsed.place, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def home_at(address: str) -> Home:
    parsed = parse_address(address)
    assert parsed is not None
    return connect_home(parsed)


def let_no_search_read_the_table(address: str) -> None:
    """PostgreSQL compares few rows without its index, since that is faster."""
    ask_postgres(address, "ALTER DATABASE postgres SET enable_seqscan = off")


@pytest.mark.parametrize("kind", ["lancedb", "postgres"])
def test_what_databases_find(kind: str, many: Index, places: Callable[[str], str]) -> None:
    """Their own index is used, so recall is what it finds; a filter that refuses many leaves no hit out."""
    if kind == "postgres":
        let_no_search_read_the_table(places(kind))
    export(many, places(kind), table="many")
    address, query = f"{places(kind)}#many", SearchQuery(positive_rows=(7,))
    assert not open_index(address).ann_index.description.is_approximate
    with pytest.raises(InputError, match="#many: the index is read from this table"):
        export(address, address, replace=True)
    there = open_index(address, "approximate")
    assert str(there.ann_index.description).endswith(f"{kind}: {ALL}, measured on 16 of these rows")
    assert str(open_index(address, "approximate").ann_index.description) == str(there.ann_index.description)
    assert not open_index(address).ann_index.description.is_approximate  # who wrote it didn't say so
    export(many, places(kind), table="many", replace=True, nearest="approximate")
    there, exact = open_index(address), open_index(address, "exact")
    assert there.ann_index.description.is_approximate and not exact.ann_index.description.is_approximate
    assert len(home_at(address).read_records("approximate")) == 1
    filters = (RowFilter(), RowFilter(labels=("a",)), RowFilter(path_patterns=("v/1*.mp4",)), RowFilter(to_s=2.5))
    for filter_, motion in zip(filters, (None, 0.0, 0.7, 1.0), strict=True):
        asked = dataclasses.replace(query, filter=filter_, motion_weight=motion)
        found, wanted = (search(index, asked, HitOptions(5)) for index in (there, many))
        assert [hit.rows[0] for hit in found] == [hit.rows[0] for hit in wanted]
        np.testing.assert_allclose([h.score for h in found], [h.score for h in wanted], atol=1e-5)
    if kind == "postgres":
        scans = "SELECT indexrelname, idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname LIKE 'many_near%'"
        names = ("appearance", "motion", "row")
        assert sorted(ask_postgres(address, scans)) == [(f"many_near_{name}", True) for name in names]
        ask_postgres(address, "ALTER DATABASE postgres RESET enable_seqscan")
    else:
        import lancedb

        table = lancedb.connect(parse_address(address).place).open_table("many")  # type: ignore[union-attr]
        assert len(table.list_indices()) == 3 and len(table.tags.list()) == 2


class ForgetfulHome(Home):
    """A home in memory, whose approximate index leaves out each row of `forgotten`, and never has more than `most`."""

    def __init__(self, index: Index, forgotten: list[int], most: int = 10**6) -> None:
        super().__init__(HomeAddress("lancedb", "memory"))
        self.index, self.forgotten, self.most, self.exact_questions = index, forgotten, most, 0
        self.ends, self.records, self.index_id = slider_ends(index.parts), list[Record](), "it"

    def find_nearest(self, question: RowQuestion) -> list[tuple[np.ndarray, np.ndarray]]:
        vectors_ND, may_N = np.asarray(self.index.vectors_ND), np.ones(len(self.index.rows), bool)
        if question.vector:
            vectors_ND = self.ends[question.vector].cut_rows(vectors_ND)
        if question.ranges_R2 is not None:
            may_N[:] = False
            for first, stop in question.ranges_R2:
                may_N[first:stop] = True
        if question.candidates:
            may_N[self.forgotten] = False
        self.exact_questions += not question.candidates
        k = min(question.k, self.most) if question.candidates else question.k
        score_QN = np.where(may_N, question.query_QD @ vectors_ND.T, -np.inf)
        row_QN = np.argsort(-score_QN, axis=1)[:, : min(k, may_N.sum())]
        return [(score_N[row_N], row_N) for score_N, row_N in zip(score_QN, row_QN, strict=True)]

    def make_approximate(self, widths: dict[str, int]) -> list[str]:
        return list(widths)

    def read_vectors(self, row_n: np.ndarray) -> np.ndarray:
        return np.asarray(self.index.vectors_ND)[row_n]

    def read_block(self, first: int, stop: int) -> np.ndarray:
        return np.asarray(self.index.vectors_ND)[first:stop]

    def read_records(self, name: str) -> list[Record]:
        return [record for record in self.records if record.name == name]

    def add_records(self, records: object) -> None:
        self.records += list(records)  # type: ignore[call-overload]

    list_names = delete_records = count_rows = write = close = None  # type: ignore[assignment]


def open_forgetful(many: Index, home: ForgetfulHome) -> HomeSearch:
    """`home`, searched approximately, of which recall was measured."""
    widths = {"": many.vectors_ND.shape[1]} | {name: len(end.column_d) for name, end in home.ends.items()}
    exact = HomeSearch(home, len(many.rows), widths[""], "", home.ends)
    vectors = HomeVectors(home, len(many.rows), widths[""])
    found = choose_search(exact, vectors, many.parts, widths, "approximate")
    assert choose_search(exact, vectors, many.parts, widths, "exact") is exact
    assert choose_search(exact, vectors, many.parts, widths, None) is exact
    make_approximation(exact, vectors, many.parts, widths, is_default=True)
    home.records.reverse()
    assert choose_search(exact, vectors, many.parts, widths, None).approximation is not None
    return found


def test_recall_is_what_an_index_finds(many: Index) -> None:
    """Of rows of which each fourth is never found, three quarters; with as many candidates as there may be."""
    opened = open_forgetful(many, ForgetfulHome(many, list(range(0, NUM_ROWS, 4))))
    assert opened.approximation is not None and opened.approximation.candidates == approximate.MOST_CANDIDATES
    assert 0.7 < opened.description.recall < 0.8
    share = int(100 * opened.description.recall)
    assert str(opened.description).endswith(
        f"approximate: finds {share} of 100 of the nearest 10, measured on 16 of these rows"
    )
    perfect = open_forgetful(many, ForgetfulHome(many, []))
    assert perfect.approximation is not None and perfect.description.describe_recall() == ALL
    assert perfect.approximation.candidates == approximate.FIRST_CANDIDATES


def test_too_few_found_are_asked_for_again(many: Index) -> None:
    """Where an index answers with fewer rows than are wanted, all rows are compared; where few are allowed, at once."""
    home = ForgetfulHome(many, list(range(1, NUM_ROWS, 2)), most=40)
    opened, rows = open_forgetful(many, home), np.arange(NUM_ROWS)
    query_QD = weight_parts(many.vectors_ND[[4]], 1.0, many.parts)
    for allowed, k, is_exact in (
        (None, 20, False),
        (None, 60, True),  # more than it ever has
        (rows != 4, 20, False),
        (rows % 3 > 0, 20, False),
        (rows < 150, 60, True),  # more than it ever has
        (rows < 150, 40, False),
        (rows < 40, 10, True),  # fewer than `flat_below`
    ):
        before, wanted = home.exact_questions, many.ann_index.search(query_QD, k, allowed)
        found = opened.search(query_QD, k, allowed)
        assert (home.exact_questions > before) == is_exact and found[1].shape == wanted[1].shape
        if is_exact:
            np.testing.assert_array_equal(found[1], wanted[1])
        elif allowed is not None:
            assert allowed[found[1]].all()
    home.max_ranges = 1  # type: ignore[misc]
    found = opened.search(query_QD, 20, rows % 3 > 0)
    assert (found[1] % 3 > 0).all() and found[1].shape == (1, 20)


def test_terminal_json_and_page_say_it(many: Index, motion_set: Path, tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    place, video = f"lancedb:{tmp_path / 'lance'}", sorted(motion_set.rglob("*.mp4"))[0]
    export(many, place, nearest="approximate")
    told = succeeds("search", place, video, "--count", 3)
    assert f"{ALL}; --nearest exact compares all rows" in " ".join(told.err.split())
    found = json.loads(succeeds("search", place, video, "--count", 3, "--json").out)
    assert len(found) == 3 and all(hit["recall_at_10"] == 1.0 for hit in found)
    found = json.loads(succeeds("search", place, video, "--nearest", "exact", "--json").out)
    assert found and not any("recall_at_10" in hit for hit in found)
    state = ServerState(place, ServeOptions(UploadLimits(), 10**8, tmp_path))
    page = TestClient(build_app(state), "http://127.0.0.1", raise_server_exceptions=False)
    assert page.get("/api/index").json()["approximate"] == ALL
    state.close()
    state = ServerState(place, ServeOptions(UploadLimits(), 10**8, tmp_path, nearest="exact"))
    page = TestClient(build_app(state), "http://127.0.0.1", raise_server_exceptions=False)
    assert page.get("/api/index").json()["approximate"] == ""
    state.close()


def test_few_rows_and_folders_of_qdrant_are_searched_exactly(
    motion_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("qdrant_client")
    place = f"qdrant:{tmp_path / 'q'}"
    export(motion_index, place, nearest="approximate")
    assert str(open_index(place).ann_index.description).endswith("qdrant: exact")
    monkeypatch.setattr(BuildOptions, "flat_below", 10**6)
    export(motion_index, f"lancedb:{tmp_path / 'l'}")
    assert not open_index(f"lancedb:{tmp_path / 'l'}", "approximate").ann_index.description.is_approximate
    to_files = ("--to", f"numpy:{tmp_path / 'n'}", "--nearest", "approximate")
    refused("export", motion_index, *to_files, says=("only a database",))


def test_an_index_that_is_replaced_is_not_measured(many: Index, tmp_path: Path) -> None:
    """The database makes its index for the rows that were opened, or says that there are others."""
    pytest.importorskip("lancedb")
    place = f"lancedb:{tmp_path / 'lance'}"
    export(many, place)
    opened = open_index(place)
    assert isinstance(opened.ann_index, HomeSearch)
    export(many, place, replace=True)
    with pytest.raises(HomeChangedError, match="was replaced since it was opened"):
        opened.ann_index.home.make_approximate({"": 1})
    home = home_at(place)
    home.add_records([Record(f"approximate/{n}", "approximate", data) for n, data in enumerate((b"{", b'{"a": 1}'))])
    assert read_approximation(home, read_newest_id(home)) is None
    assert not open_index(place).ann_index.description.is_approximate


def test_an_old_pgvector_is_refused(many: Index, places: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_home, "ITERATIVE_SINCE", (99, 0))
    address = f"{places('postgres')}#old"
    export(many, address)
    with pytest.raises(InputError, match=r"needs pgvector 99\.0 or later, there is .*--nearest exact"):
        open_index(address, "approximate")
    assert len(search(address, SearchQuery(positive_rows=(3,)), HitOptions(4))) == 4


def test_a_folder_compares_all_rows_when_asked(many: Index, motion_index: Path) -> None:
    """Also those of an IVF that has lost half of them."""
    description = dataclasses.replace(many.ann_index.description, kind="IVF-SQ8", recall=0.5)
    exact, query_QD = ExactRows(np.asarray(many.vectors_ND), description), many.vectors_ND[[3, 8]]
    for allowed in (None, np.arange(NUM_ROWS) % 7 == 1, np.arange(5)):
        found, wanted = exact.search(query_QD, 9, allowed), many.ann_index.search(query_QD, 9, allowed)
        np.testing.assert_array_equal(found[1], wanted[1])
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-6)
    assert not exact.description.is_approximate and exact.search(query_QD, 0)[1].shape == (2, 0)
    assert description.describe_recall() == "approximate: finds 50 of 100 of the nearest 10"
    assert open_index(motion_index, "exact").ann_index.description.kind == "flat"
