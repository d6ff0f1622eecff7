"""Four homes of one index: a folder, LanceDB, Qdrant in a folder, and a PostgreSQL server with pgvector."""

import dataclasses
import gc
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import preload_server, refused, succeeds

from unreel.errors import InputError
from unreel.indexing.clustering.clusters import ClusterOptions
from unreel.indexing.concepts.annotations import MarkedMoments
from unreel.indexing.concepts.concept import Concept
from unreel.indexing.concepts.concept_update import list_concepts, load_concept, load_marks, update_concept
from unreel.indexing.homes import cached_files, content, home_rows, postgres_home
from unreel.indexing.homes.address import HOME_KINDS, HomeAddress, hide_secrets, parse_address
from unreel.indexing.homes.content import iterate_batches, slider_ends
from unreel.indexing.homes.home import FILLING_RECORD, Home, HomeChangedError, HomeDownError, Record, connect_home
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.homes.records import make_description_record, read_description
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.query_vector import weight_parts
from unreel.indexing.index.row_filter import RowFilter
from unreel.indexing.search.query import SearchQuery
from unreel.indexing.search.results import Hit, HitOptions
from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.models.encoder.row_parts import scale_parts
from unreel.types import Moment
from unreel.verbs.indexing.cluster import cluster
from unreel.verbs.indexing.export import export
from unreel.verbs.indexing.search import search

KINDS = ["lancedb", "qdrant", "postgres"]
Places = Callable[[str], str]


@pytest.fixture(scope="session")
def index(motion_index: Path) -> Index:
    """`motion_index` with vectors that lie far apart: those of a network that was hardly trained are nearly equal, so
    their order would be a matter of rounding."""
    opened = open_index(motion_index)
    centred = opened.parts.split(np.asarray(opened.vectors_ND) - opened.vectors_ND.mean(axis=0))
    vectors_ND = scale_parts(centred, np.sqrt(opened.parts.weight_P))
    ann_index = AnnIndex.build(vectors_ND, fingerprint=opened.ann_index.description.vectors_fingerprint)
    return dataclasses.replace(opened, vectors_ND=vectors_ND, ann_index=ann_index)


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Places:
    """KIND:PLACE of an empty database of a kind; there is one a kind, so tables have names of their own."""
    folder = tmp_path_factory.mktemp("homes")

    def place(kind: str) -> str:
        pytest.importorskip(HOME_KINDS[kind].module)
        return f"postgres:{request.getfixturevalue('postgres')}" if kind == "postgres" else f"{kind}:{folder / kind}"

    return place


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def filled(index: Index, places: Places) -> Places:
    """The address of `index` in a home of a kind, written once; nobody changes its rows."""
    written = dict[str, str]()

    def fill(kind: str) -> str:
        if kind not in written:
            export(index, places(kind))
            written[kind] = places(kind)
        return written[kind]

    return fill


@pytest.fixture
def own(kind: str, index: Index, places: Places, request: pytest.FixtureRequest) -> str:
    """The address of `index` in a table that a test may change."""
    table = "own_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:30]
    export(index, places(kind), table=table)
    return f"{places(kind)}#{table}"


def home_at(address: str) -> Home:
    parsed = parse_address(address)
    assert parsed is not None
    return connect_home(parsed)


def require_same_hits(found: list[Hit], wanted: list[Hit]) -> None:
    """The same moments of the same rows; scores to 1e-5, within which hits may change places."""
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in wanted], atol=1e-5)
    np.testing.assert_allclose([h.likeness or 0 for h in found], [h.likeness or 0 for h in wanted], atol=1e-3)
    there, here = (
        {(h.path, h.start_s, h.end_s, frozenset(h.rows), len(h.duplicates)) for h in hits} for hits in (found, wanted)
    )
    assert there == here


def list_questions(index: Index) -> list[tuple[SearchQuery, HitOptions]]:
    """Ten questions with all that one may have."""
    path, some = index.rows.paths[5], HitOptions(6)
    return [
        (SearchQuery(positive_rows=(3,)), HitOptions(20)),
        (SearchQuery(positive_rows=(3, 40), negative_rows=(70,)), some),
        (SearchQuery(positive_rows=(11,), motion_weight=0.0), some),
        (SearchQuery(positive_rows=(11,), negative_rows=(2,), motion_weight=1.0), some),
        (SearchQuery(positive_rows=(11,), motion_weight=0.3, own_video_mode="video"), some),
        (SearchQuery(positive_rows=(20,), own_video_mode="keep"), HitOptions(8, duplicate_threshold=0.98)),
        (SearchQuery(positive_rows=(8,), filter=RowFilter(path_patterns=("*0.mp4", path))), some),
        (SearchQuery(positive_rows=(8,), filter=RowFilter(labels=(index.rows.labels[1],))), HitOptions(5, gap_s=-1)),
        (SearchQuery(positive_rows=(8,), filter=RowFilter(from_s=0.3, to_s=0.5)), some),
        (SearchQuery(positive_moments=(Moment(path, 0.0, 0.9),), filter=RowFilter(to_s=0.6)), some),
    ]


def copied(index: Index, folder: Path) -> Index:
    """The same index with a folder of its own, for concepts."""
    return dataclasses.replace(index, folder=Path(shutil.copytree(index.folder, folder)))


def test_all_homes_answer_alike(
    kind: str, filled: Places, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten questions, and a concept, whose scores are of all rows."""
    there, local = open_index(filled(kind)), copied(index, tmp_path / "copy")
    assert str(there.ann_index.description).endswith(f"{kind}: exact") and there.views == index.views
    assert there.rows.paths == index.rows.paths and there.scale == index.scale and there.metadata == index.metadata
    for query, options in list_questions(index):
        require_same_hits(search(there, query, options), search(index, query, options))
    monkeypatch.setattr(type(home_at(filled(kind))), "max_ranges", 1)  # so the filter isn't one for the database
    query = SearchQuery(positive_rows=(8,), filter=RowFilter(from_s=0.3, to_s=0.5))
    require_same_hits(search(there, query, HitOptions(6)), search(index, query, HitOptions(6)))
    yes, no = MarkedMoments((3, 4, 5)), MarkedMoments((40,), (Moment(index.rows.paths[9], 0.0, 0.5),))
    update, wanted = (update_concept(opened, "alike", yes, no) for opened in (there, local))
    np.testing.assert_allclose(update.score_N, wanted.score_N, atol=1e-5)
    assert update.marks == wanted.marks and load_marks(there, "alike") == (wanted.marks, 0)
    assert [hit.rows for hit in update.to_mark_next] == [hit.rows for hit in wanted.to_mark_next]
    np.testing.assert_allclose(load_concept(there, "alike").weight, wanted.concept.weight, atol=1e-6)


def test_the_commands_take_an_address(filled: Places, index: Index, motion_set: Path, tmp_path: Path) -> None:
    """Each once, on one home or another, beside the same on the index that was written."""
    lance, qdrant, local = filled("lancedb"), filled("qdrant"), copied(index, tmp_path / "copy")
    video = sorted(motion_set.rglob("*.mp4"))[3]
    found = json.loads(succeeds("search", lance, video, "--from", 0, "--to", 0.5, "--json", "--count", 5).out)
    wanted = search(local, SearchQuery((Moment(str(video), 0.0, 0.5),)), HitOptions(5))
    assert [sorted(hit["rows"]) for hit in found] == [sorted(hit.rows) for hit in wanted]
    told = json.loads(succeeds("concept", lance, "spin", "--yes", 3, 4, "--no", 20, "--json").out)
    update = update_concept(local, "spin", MarkedMoments((3, 4)), MarkedMoments((20,)))
    assert told["marks"] == {"yes": [3, 4], "no": [20], "lost": 0}
    assert [next_["row"] for next_ in told["next"]] == [hit.rows[0] for hit in update.to_mark_next]
    assert f"{lance}/concepts/spin.json: 2 yes and 1 no" in succeeds("concept", lance, "spin", "--yes", 3).out
    found = json.loads(succeeds("apply", f"{lance}/concepts/spin.json", qdrant, "--json").out)
    assert len(found) == len(update.moments) > 0 and {m["video"] for m in found} == {m.path for m in update.moments}
    assert "in 1 clip of" not in succeeds("apply", f"{lance}/concepts/spin.json", video).out
    refused("apply", f"{lance}/concepts/spun.json", video, says=("no concept 'spun'",))
    succeeds("cluster", qdrant, "--out", tmp_path / "a", "--count", 3)
    cluster(index, tmp_path / "b", ClusterOptions(num_clusters=3))
    assert (tmp_path / "a" / "odd.csv").read_text() == (tmp_path / "b" / "odd.csv").read_text()
    succeeds("export", qdrant, "--to", f"numpy:{tmp_path / 'n'}")
    np.testing.assert_allclose(np.load(tmp_path / "n" / "vectors.npy"), index.vectors_ND, atol=1e-6)
    succeeds("export", qdrant, "--to", f"parquet:{tmp_path / 'p.parquet'}")
    embeddings = read_embeddings(tmp_path / "p.parquet")
    np.testing.assert_allclose(embeddings.vectors, index.vectors_ND, atol=1e-6)  # the views weigh the same here
    assert embeddings.paths == [index.rows.get_path(row) for row in range(len(index.rows))]
    succeeds("export", qdrant, "--to", f"{lance}#moved")
    assert len(open_index(f"{lance}#moved").rows) == len(index.rows)


def test_an_end_of_the_slider_is_a_vector_of_its_own(filled: Places, index: Index, kind: str) -> None:
    """Whose inner product is the weighted score of the whole row; in between the whole row is asked for."""
    there, ends = open_index(filled(kind)), slider_ends(index.parts)
    assert list(ends) == ["appearance", "motion"] and isinstance(there.ann_index, home_rows.HomeSearch)
    asked = list[str]()
    find = there.ann_index.home.find_nearest
    there.ann_index.home.find_nearest = lambda question: asked.append(question.vector) or find(question)  # type: ignore
    for position, name in ((0.0, "appearance"), (1.0, "motion"), (0.5, "")):
        query_QD = weight_parts(index.vectors_ND[[7]], position, index.parts)
        ((score_K,), (row_K,)) = there.ann_index.search(query_QD, 5)
        np.testing.assert_allclose(score_K, index.vectors_ND[row_K] @ query_QD[0], atol=1e-5)
        assert asked[-1] == name
        if name:
            rows_nd = ends[name].cut_rows(np.asarray(index.vectors_ND[:9]))
            np.testing.assert_allclose(np.linalg.norm(rows_nd, axis=1), 1, atol=1e-5)


def test_marks_of_many_at_once_are_all_kept(own: str, index: Index) -> None:
    there = open_index(own)

    def mark(row: int) -> None:
        update_concept(there, "spin", MarkedMoments((row,)), MarkedMoments((row + 20,)), num_next=0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(mark, range(4)))
    marks, lost = load_marks(there, "spin")
    assert (marks.positives, marks.negatives, lost) == (tuple(range(4)), tuple(range(20, 24)), 0)
    assert load_concept(there, "spin").num_yes == 4 and list_concepts(there) == ["spin"]
    update_concept(there, "spin", MarkedMoments((21,)), MarkedMoments((1,)))
    assert load_marks(there, "spin")[0].positives == (0, 2, 3, 21)
    update_concept(there, "spin", MarkedMoments((50,)), MarkedMoments(), discard_marks=True)
    assert load_marks(there, "spin")[0].positives == (50,) and load_marks(there, "spin")[0].negatives == ()
    learned = home_at(own).read_records("learned/spin")
    assert len(learned) == 1 and Concept.from_json(json.loads(learned[0].data)["concept"], "", there.encoder_hash)
    home_at(own).delete_records(names=["learned/spin"])  # what was learned follows from the marks
    assert load_concept(there, "spin").num_yes == 1
    with pytest.raises(InputError, match="the index is read from this table"):
        export(there, own, replace=True)
    if not own.startswith("postgres"):  # the same folder, written otherwise
        with pytest.raises(InputError, match="the index is read from this table"):
            export(there, own.replace("#", "/#"), replace=True)
    export(index, own, replace=True)
    assert load_marks(open_index(own), "spin")[0].positives == (50,)


def export_and_be_killed(index: Index, address: str) -> None:
    """Replace the rows at an address, with three batches of them, and be killed at the second."""

    def iterate_and_die(index: Index, batch_rows: int) -> Iterator[Any]:
        for number, batch in enumerate(iterate_batches(index, len(index.rows) // 3 + 1)):
            if number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    content.iterate_batches = iterate_and_die
    export(index, address, replace=True)


def test_killed_index_to(
    own: str, index: Index, motion_index: Path, motion_set: Path, small_run: Path, tmp_path: Path
) -> None:
    """After a kill the home answers as before or as after, or says what to do; called again, it has each row once."""
    if own.startswith("qdrant"):  # a folder of Qdrant is for one process, and other tests use that of the session
        export(index, f"qdrant:{tmp_path / 'alone'}", table="own")
        own = f"qdrant:{tmp_path / 'alone'}#own"
    folder = Path(shutil.copytree(motion_index, tmp_path / "index"))
    fresh, query, options = open_index(folder), SearchQuery(positive_rows=(3,)), HitOptions(8)
    right = [search(index, query, options), search(fresh, query, options)]
    assert [hit.score for hit in right[0]] != [hit.score for hit in right[1]]
    update_concept(open_index(own), "spin", MarkedMoments((3,)), MarkedMoments((20,)))
    preload_server()
    gc.collect()  # what was opened above is closed
    process = multiprocessing.get_context("forkserver").Process(target=export_and_be_killed, args=(fresh, own))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    try:
        found = [round(hit.score, 4) for hit in search(open_index(own), query, options)]
        assert found in [[round(hit.score, 4) for hit in hits] for hits in right]
    except InputError as error:
        assert "a filling of it was" in str(error) or "export the index again" in str(error)
    succeeds("index", small_run, motion_set, "--out", folder, "--hop-s", 0.2, "--to", own)
    there = open_index(own)
    assert home_at(own).count_rows() == len(there.rows) == len(fresh.rows)
    np.testing.assert_allclose(there.vectors_ND[:], fresh.vectors_ND, atol=1e-6)
    require_same_hits(search(there, query, options), right[1])
    assert load_marks(there, "spin")[0].positives == (3,)
    assert len(home_at(own).read_records("index")) == 1 and not home_at(own).read_records(FILLING_RECORD)


def save_marks_in_a_process(address: str, first: int, reports: Path) -> None:
    """Mark rows one by one; each is reported once it is saved."""
    there = open_index(address)
    for row in range(first, first + 4):
        update_concept(there, "all", MarkedMoments((row,)), MarkedMoments(), num_next=0)
        (reports / str(row)).touch()


@pytest.mark.parametrize("kind", ["lancedb", "postgres"], indirect=True)  # a folder of Qdrant is for one process
def test_a_server_is_killed_while_three_others_save_marks(own: str, tmp_path: Path) -> None:
    """What was saved is there, once: all of the three, and of the killed one what it had reported."""
    preload_server()
    context = multiprocessing.get_context("forkserver")
    servers = [context.Process(target=save_marks_in_a_process, args=(own, 4 * n, tmp_path)) for n in range(4)]
    for server in servers:
        server.start()
    while not (tmp_path / "0").exists() and servers[0].is_alive():
        servers[0].join(0.01)
    servers[0].kill()
    for server in servers:
        server.join()
    assert [server.exitcode for server in servers[1:]] == [0, 0, 0]
    reported, there = {int(path.name) for path in tmp_path.iterdir()}, open_index(own)
    positives = load_marks(there, "all")[0].positives
    assert {0, *range(4, 16)} <= reported <= set(positives) <= set(range(16))
    records = [json.loads(record.data)["marks"] for record in home_at(own).read_records("concept/all")]
    assert len(records) == len(positives) and all(len(marks) == 1 for marks in records)
    assert load_concept(there, "all").num_yes == len(positives)


def test_an_index_that_is_replaced_is_not_mixed_with_the_new_one(own: str, kind: str, index: Index) -> None:
    """LanceDB goes on with the old rows, since it keeps versions; the others say that there are new ones."""
    there, query = open_index(own), SearchQuery(positive_rows=(3,))
    before = search(there, query)
    assert isinstance(there.ann_index, home_rows.HomeSearch)
    home = there.ann_index.home
    export(index, own, replace=True)
    if kind == "lancedb":
        require_same_hits(search(there, query), before)
    else:
        for read in (
            lambda: home.read_block(0, 5),
            lambda: home.read_vectors(np.array([3, 1])),
            lambda: search(there, query),
        ):
            with pytest.raises(HomeChangedError, match="replaced since it was opened"):
                read()
    require_same_hits(search(open_index(own), query), before)
    home.add_records([Record("filling/x", FILLING_RECORD, b"{}")])  # as the next writing begins
    with pytest.raises(HomeChangedError, match="is being filled, or a filling of it was broken off"):
        open_index(own)


def test_what_is_read_of_vectors(filled: Places, index: Index, kind: str) -> None:
    there = open_index(filled(kind)).vectors_ND
    assert there.shape == index.vectors_ND.shape and len(there) == len(index.vectors_ND) and there.ndim == 2
    mask_N = np.arange(len(there)) % 7 == 2
    for key in (slice(3, 20), slice(None, None, 9), slice(5, 5), [4, 2, 4], np.array([-1, 0]), 6, mask_N, []):
        wanted = index.vectors_ND[np.array(key, np.int64) if isinstance(key, list) else key]
        np.testing.assert_array_equal(there[key], wanted)
    np.testing.assert_array_equal(np.asarray(there), index.vectors_ND)
    assert to_pairs([True, False, True, True]) == [[0, 1], [2, 4]] and to_pairs([False]) == []


def to_pairs(mask: list[bool]) -> list[list[int]]:
    pairs: list[list[int]] = home_rows.to_ranges(np.array(mask)).tolist()
    return pairs


def test_addresses() -> None:
    assert parse_address("postgres:postgresql://me@host/db#clips") == HomeAddress(
        "postgres", "postgresql://me@host/db", "clips"
    )
    assert parse_address("postgres://host/db") == HomeAddress("postgres", "postgresql://host/db")
    assert parse_address("pgvector:postgresql://host/db") == parse_address("postgres://host/db")  # its earlier name
    assert parse_address("qdrant:http://host:6333") == HomeAddress("qdrant", "http://host:6333")
    assert parse_address("lancedb:s3://bucket/a") == HomeAddress("lancedb", "s3://bucket/a")
    assert parse_address("index") is None and parse_address("/v/in:dex") is None and parse_address("my:index") is None
    for text, hint in (("qdrnt:http://h:1", "qdrant:http://h:1"), ("postgre:h/db", "postgres:h/db"), ("s3://b/x", "")):
        with pytest.raises(InputError, match="no kind of index has this name") as told:
            parse_address(text)
        assert f"did you mean {hint}" in str(told.value) if hint else "did you" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "postgres:postgresql://me:s3cret@host/db",
        "postgres:postgresql://me:s3cret/s3cret@host/db",
        "postgres:host=h password=s3cret",
        "postgres:postgresql://host/db?password=s3cret",
        "qdrant:https://s3cret@host",
        "qdrant:https://host?api_key=s3cret",
        "lancedb:db://x?token=s3cret",
    ],
)
def test_credentials_come_from_the_environment(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for command in (("search", text, tmp_path), ("concept", text, "a", "--yes", 1), ("serve", text)):
        refused(*command, says=("holds a password or a key", "from the environment"))
    with pytest.raises(InputError) as told:
        parse_address(text)
    assert "s3cret" not in str(told.value)
    monkeypatch.setenv("PGPASSWORD", "hunter22")
    assert hide_secrets(f"{text} and hunter22 failed").count("s3cret") + hide_secrets("hunter22").count("hunter") == 0


def test_a_name_of_a_table_that_no_address_could_have_is_refused(motion_index: Path) -> None:
    refused("export", motion_index, "--to", "lancedb:place", "--table", "a" * 41, says=("is no name of a table here",))


def test_databases_that_do_not_answer(tmp_path: Path, postgres: str) -> None:
    says = ("is the address right", "does it answer")
    refused(
        "search", "postgres:postgresql://me@127.0.0.1:9/db", __file__, says=("postgresql://***@127.0.0.1:9/db", *says)
    )
    refused("search", "qdrant:http://127.0.0.1:9", __file__, says=("qdrant:http://127.0.0.1:9", *says))
    refused("search", "qdrant:127.0.0.1:6333", __file__, says=("did you mean qdrant:http://127.0.0.1:6333",))
    for kind in ("lancedb", "qdrant"):
        refused("search", f"{kind}:{tmp_path / 'tpyo'}", __file__, says=("no index there in a table 'unreel'",))
    assert not list(tmp_path.iterdir())
    refused("search", f"postgres:{postgres}#nowhere", __file__, says=("no index there in a table 'nowhere'",))
    typo = postgres.replace("/postgres?", "/posgres?")
    refused("search", f"postgres:{typo}", __file__, says=('database "posgres" does not exist', "name of the database"))


def delete_rows(address: str) -> None:
    parsed = parse_address(address)
    assert parsed is not None
    if parsed.kind == "lancedb":
        import lancedb

        table = lancedb.connect(parsed.place).open_table(parsed.table)
        table.delete("row > 5")
        description = read_description(home_at(address))
        assert description is not None
        table.tags.update(f"unreel-{description['id']}", table.version)
    elif parsed.kind == "qdrant":
        home_at(address)._call("delete", parsed.table, [7, 8, 9])  # type: ignore[attr-defined]
    else:
        change_postgres(address, "DELETE FROM {} WHERE row > 5")


def change_postgres(address: str, *statements: str) -> None:
    import psycopg

    parsed = parse_address(address)
    assert parsed is not None
    with psycopg.connect(parsed.place) as connection:
        for statement in statements:
            connection.execute(statement.format(parsed.table))


def test_half_an_index_is_told(own: str, kind: str) -> None:
    """Rows that are gone, a file that is gone, a damaged description, another version, and no description at all."""
    delete_rows(own)
    with pytest.raises(InputError, match=r"half filled: \d+ of \d+ rows"):
        open_index(own)
    home = home_at(own)
    description = read_description(home)
    assert description is not None
    shutil.rmtree(cached_files.get_homes_folder(), ignore_errors=True)
    home.delete_records(names=[f"file/{description['files']['store.json']}"])
    with pytest.raises(InputError, match=r"half an index, its file store\.json is missing in the database; export"):
        open_index(own)
    wrong = (
        ({"files": {"../x": "a"}}, "names a file outside itself"),
        ({"unreel_home": 9}, "an index of version 9, this unreel reads 1"),
        ({"files": 3}, "description of the index is damaged"),
    )
    for number, (changes, says) in enumerate(wrong):
        home.add_records([make_description_record(description | {"id": f"other{number}"} | changes)])
        with pytest.raises(InputError, match=says):
            open_index(own)
    home.delete_records(names=["index"])
    with pytest.raises(InputError, match="holds rows of another program"):
        open_index(own)


def test_rows_of_another_encoder_are_not_replaced(own: str, index: Index) -> None:
    home = home_at(own)
    description = read_description(home)
    assert description is not None
    other = description | {"id": "other", "encoder_hash": "0123456789abcdef"}
    home.add_records([make_description_record(other)])
    with pytest.raises(
        InputError, match=r"holds rows of another encoder \(0123456789ab, this one is .*another --table"
    ):
        export(index, own, replace=True)
    home.delete_records([make_description_record(other).id])
    assert len(open_index(own).rows) == len(index.rows)


@pytest.fixture
def pg_own(index: Index, places: Places, request: pytest.FixtureRequest) -> str:
    table = "pg_" + request.node.name[5:30]
    export(index, places("postgres"), table=table)
    return f"{places('postgres')}#{table}"


def test_what_postgres_refuses(pg_own: str, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another width, no rights, a full disk, and an answer that takes too long; then all is well again."""

    opened = open_index(pg_own)
    change_postgres(pg_own, "CREATE ROLE reader LOGIN", "GRANT SELECT ON {0}, {0}_records TO reader")
    as_reader = open_index(pg_own.replace("postgres:@", "reader@"))
    assert len(search(as_reader, SearchQuery(positive_rows=(3,)), HitOptions(4))) == 4
    with pytest.raises(HomeDownError, match="permission denied.*ask who runs the database for the rights"):
        update_concept(as_reader, "x", MarkedMoments((1,)), MarkedMoments())
    raises = "CREATE FUNCTION full_disk() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'could not extend file' "
    raises += "USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql"
    trigger = "CREATE TRIGGER full_disk BEFORE INSERT ON {}_records FOR EACH ROW EXECUTE FUNCTION full_disk()"
    change_postgres(pg_own, raises, trigger)
    with pytest.raises(HomeDownError, match="could not extend file.*free some space"):
        update_concept(opened, "x", MarkedMoments((1,)), MarkedMoments())
    change_postgres(pg_own, "DROP TRIGGER full_disk ON {}_records")
    monkeypatch.setattr(postgres_home, "ANSWER_TIMEOUT_S", 0.05)
    import psycopg

    parsed = parse_address(pg_own)
    assert parsed is not None
    with psycopg.connect(parsed.place) as holder:
        holder.execute(f"LOCK TABLE {parsed.table}")
        with pytest.raises(HomeDownError, match="try again when it has less to do"):
            open_index(pg_own)
    monkeypatch.undo()
    change_postgres(pg_own, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert len(search(opened, SearchQuery(positive_rows=(3,)), HitOptions(4))) == 4  # asked again on a new connection
    update_concept(opened, "x", MarkedMoments((1,)), MarkedMoments())
    change_postgres(pg_own, "ALTER TABLE {} ALTER embedding TYPE vector(3) USING '[1,2,3]'::vector(3)")
    with pytest.raises(InputError, match="vectors of 3 numbers in the table"):
        open_index(pg_own)


def test_postgres_crashes_while_it_is_filled(pg_own: str, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and marks are those of before; the same writing, repeated, puts each row there once."""
    opened, query, options = open_index(pg_own), SearchQuery(positive_rows=(3,)), HitOptions(8)
    update_concept(opened, "spin", MarkedMoments((3,)), MarkedMoments((20,)), num_next=0)

    def iterate_and_crash(index: Index, batch_rows: int) -> Iterator[Any]:
        for number, batch in enumerate(iterate_batches(index, len(index.rows) // 3 + 1)):
            if number == 1:  # PostgreSQL ends all its processes when one is killed, and recovers from its log
                ((pid,),) = ask_postgres(pg_own, "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY%'")
                os.kill(pid, signal.SIGKILL)
            yield batch

    monkeypatch.setattr(content, "iterate_batches", iterate_and_crash)
    with pytest.raises(HomeDownError, match="the database failed"):
        export(index, pg_own, replace=True)
    monkeypatch.undo()
    wait_until_postgres_answers(pg_own)
    assert home_at(pg_own).count_rows() == len(index.rows) and len(home_at(pg_own).read_records("index")) == 1
    require_same_hits(search(opened, query, options), search(index, query, options))
    assert load_marks(opened, "spin")[0].positives == (3,)
    export(index, pg_own, replace=True)
    assert home_at(pg_own).count_rows() == len(index.rows) and load_marks(opened, "spin")[0].positives == (3,)


def ask_postgres(address: str, statement: str) -> list[Any]:
    import psycopg

    parsed = parse_address(address)
    assert parsed is not None
    with psycopg.connect(parsed.place) as connection:
        return list(connection.execute(statement).fetchall())


def wait_until_postgres_answers(address: str) -> None:
    import psycopg

    while True:
        try:
            ask_postgres(address, "SELECT 1")
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
