"""An index for other programs: every form read back by what it is for, or by its own reader where that is installed."""

import contextlib
import csv
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import refused, succeeds
from vectors import clips, grouped

from unreel.errors import InputError
from unreel.indexing.export.destination import EXPORTERS
from unreel.indexing.homes import address, content
from unreel.indexing.homes.address import HOME_KINDS
from unreel.indexing.homes.content import iterate_batches
from unreel.indexing.homes.home import Home
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.clip_index import Index, open_index
from unreel.indexing.store.embeddings_file import read_embeddings, read_metadata
from unreel.models.encoder.row_parts import RowParts
from unreel.verbs.indexing.export import export


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Home, "batch_rows", 7)


def test_parquet_is_read_as_embeddings(motion_index: Path, index: Index, tmp_path: Path) -> None:
    done = succeeds("export", motion_index, "--to", f"parquet:{tmp_path / 'a.parquet'}")
    assert f"{len(index.rows)} rows written" in done.out
    found, stored = read_embeddings(tmp_path / "a.parquet"), read_embeddings(motion_index)
    np.testing.assert_array_equal(found.vectors, stored.vectors)
    assert found.paths == stored.paths and found.content_hashes == stored.content_hashes
    assert read_metadata(tmp_path / "a.parquet")["encoder_hash"] == index.encoder_hash
    assert pq.read_table(tmp_path / "a.parquet").column_names[:2] == ["path", "start_s"]


def test_numpy_rows_stand_beside_their_vectors(motion_index: Path, index: Index, tmp_path: Path) -> None:
    succeeds("export", motion_index, "--to", f"numpy:{tmp_path / 'n'}")
    np.testing.assert_array_equal(np.load(tmp_path / "n" / "vectors.npy"), index.vectors_ND)
    with (tmp_path / "n" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(len(index.rows)))
    assert [row["video"] for row in rows] == [index.rows.get_path(n) for n in range(len(index.rows))]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk of its own")
@pytest.mark.parametrize("kind", ["numpy", "fiftyone"])
def test_a_full_disk_is_told(kind: str, motion_index: Path, tmp_path: Path) -> None:
    """A disk of 64 kB in a mount namespace of its own, where the system allows one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    alone = ["unshare", "-rm", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=64k none {disk}"
    if shutil.which("unshare") is None or subprocess.run([*alone, mount], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    export = f"{sys.executable} -m unreel export {motion_index} --to {kind}:{disk / 'n'}"
    done = subprocess.run(
        [*alone, f"{mount} && {export}; code=$?; ls -A {disk}; exit $code"], text=True, capture_output=True
    )
    assert done.returncode == 2 and done.stdout == "", done
    assert "No space left" in done.stderr and "free space" in done.stderr and len(done.stderr.splitlines()) == 1


def test_fiftyone_gets_a_clip_per_row(motion_index: Path, index: Index, tmp_path: Path) -> None:
    """The form that its documentation gives for FiftyOneTemporalDetectionDataset; absolute paths are names there.

    Its importer (1.22.1) wants a folder `data`, of which it then takes nothing.
    """
    succeeds("export", motion_index, "--to", f"fiftyone:{tmp_path / 'f'}")
    found = json.loads((tmp_path / "f" / "labels.json").read_text())
    assert not list((tmp_path / "f" / "data").iterdir()) and all(Path(path).is_absolute() for path in found["labels"])
    assert set(found) == {"classes", "labels"} and set(found["labels"]) == set(index.rows.paths)
    clips = [clip for clips in found["labels"].values() for clip in clips]
    assert all(set(clip) == {"label", "timestamps", "attributes"} for clip in clips)
    assert {clip["label"] for clip in clips} == set(found["classes"])
    by_row = {clip["attributes"]["row"]: clip["timestamps"] for clip in clips}
    assert by_row == {n: [index.rows.start_s[n], index.rows.end_s[n]] for n in range(len(index.rows))}
    np.testing.assert_array_equal(np.load(tmp_path / "f" / "embeddings" / "vectors.npy"), index.vectors_ND)


def test_lightlystudio_gets_the_mean_of_each_video_and_an_event_of_each_clip(
    motion_index: Path, index: Index, tmp_path: Path
) -> None:
    succeeds("export", motion_index, "--to", f"lightly:{tmp_path / 'l'}")
    with (tmp_path / "l" / "embeddings.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    dim = index.vectors_ND.shape[1]
    assert rows[0] == ["filenames", *(f"embedding_{n}" for n in range(dim)), "labels"]
    assert [row[0] for row in rows[1:]] == index.rows.paths and {row[-1] for row in rows[1:]} == {"0"}
    mean_D = index.vectors_ND[index.rows.path_N == 3].mean(axis=0)
    np.testing.assert_allclose(np.array(rows[4][1:-1], float), mean_D / np.linalg.norm(mean_D), atol=1e-5)
    events = json.loads((tmp_path / "l" / "events.json").read_text())["results"]
    assert list(events) == [Path(path).stem for path in index.rows.paths]
    for number, path in enumerate(index.rows.paths):
        mine = np.flatnonzero(index.rows.path_N == number)
        label = index.rows.labels[index.rows.label_N[mine[0]]]
        spans = [[index.rows.start_s[n], index.rows.end_s[n]] for n in mine]
        assert events[Path(path).stem] == [{"label": label, "segment": span} for span in spans]


def nearest_twin(index: Index, row: int) -> list[int]:
    return np.argsort(-(index.vectors_ND @ index.vectors_ND[row]), kind="stable")[:3].tolist()


def test_lancedb_finds_what_we_find(motion_index: Path, index: Index, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    succeeds("export", motion_index, "--to", f"lancedb:{tmp_path / 'l'}", "--table", "clips")
    table = lancedb.connect(str(tmp_path / "l")).open_table("clips")
    rows = table.to_arrow().to_pylist()
    assert [row["video"] for row in rows] == [index.rows.get_path(n) for n in range(len(index.rows))]
    found = table.search(index.vectors_ND[9]).distance_type("dot").limit(3).to_list()
    scores = index.vectors_ND @ index.vectors_ND[9]
    np.testing.assert_allclose([scores[f["row"]] for f in found], scores[nearest_twin(index, 9)], atol=1e-6)
    refused(
        "export",
        motion_index,
        "--to",
        f"lancedb:{tmp_path / 'l'}",
        "--table",
        "clips",
        says=("'clips' is there already",),
    )


def test_qdrant_finds_what_we_find(motion_index: Path, index: Index, tmp_path: Path) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    succeeds("export", motion_index, "--to", f"qdrant:{tmp_path / 'q'}")
    client = qdrant.QdrantClient(path=str(tmp_path / "q"))
    assert client.count("unreel").count == len(index.rows)
    found = client.query_points("unreel", query=index.vectors_ND[9].tolist(), using="row", limit=3).points
    scores = index.vectors_ND @ index.vectors_ND[9]
    np.testing.assert_allclose([f.score for f in found], scores[nearest_twin(index, 9)], atol=1e-5)
    assert found[0].payload["video"] == index.rows.get_path(found[0].id)
    client.close()
    refused("export", motion_index, "--to", f"qdrant:{tmp_path / 'q'}", says=("'unreel' is there already",))
    refused("export", motion_index, "--to", "qdrant:http://127.0.0.1:9", says=("127.0.0.1:9", "does it answer"))


def test_qdrant_is_handed_no_more_than_its_server_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 MB of JSON a call; rows of the widest network, two views of 2048 numbers each."""
    qdrant = pytest.importorskip("qdrant_client")
    vectors_ND, rows = grouped(600, 4096), clips(6, 100)
    parts = RowParts.make_equal(("rgb",), (vectors_ND.shape[1],))
    index = Index(tmp_path, {}, rows, vectors_ND, AnnIndex.build(vectors_ND), parts)
    handed: list[int] = []

    def upsert(_self: Any, table: str, batch: Any) -> None:
        if table == "unreel":
            handed.append(len(batch.model_dump_json()))

    monkeypatch.setattr(qdrant.QdrantClient, "upsert", upsert)
    export(index, f"qdrant:{tmp_path / 'q'}")
    assert len(handed) > 1 and max(handed) < 32_000_000


def test_an_export_to_qdrant_that_breaks_off_leaves_nothing(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qdrant = pytest.importorskip("qdrant_client")

    def two(index: Index, most: int) -> Iterator[Any]:
        yield next(iterate_batches(index, most))
        raise OSError("the line is cut")

    monkeypatch.setattr(content, "iterate_batches", two)
    with pytest.raises(OSError, match="the line is cut"):
        export(index, f"qdrant:{tmp_path / 'q'}")
    assert not qdrant.QdrantClient(path=str(tmp_path / "q")).collection_exists("unreel")


def test_pgvector_finds_what_we_find(motion_index: Path, index: Index, postgres: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    succeeds("export", motion_index, "--to", f"postgres:{postgres}", "--table", "clips")
    asked = "[" + ",".join(map(str, index.vectors_ND[9])) + "]"
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM clips").fetchone()[0] == len(index.rows)
        order = "SELECT row, video, -(embedding <#> %s::vector) FROM clips ORDER BY 3 DESC LIMIT 3"
        found = connection.execute(order, (asked,)).fetchall()
    scores = index.vectors_ND @ index.vectors_ND[9]
    np.testing.assert_allclose([f[2] for f in found], scores[nearest_twin(index, 9)], atol=1e-5)
    assert found[0][1] == index.rows.get_path(found[0][0])
    refused(
        "export", motion_index, "--to", f"postgres:{postgres}", "--table", "clips", says=("'clips' is there already",)
    )


def test_a_server_that_does_not_answer(motion_index: Path, index: Index) -> None:
    pytest.importorskip("psycopg")
    refused("export", motion_index, "--to", "postgres:postgresql://a@127.0.0.1:9/b", says=("does it answer",))
    for place in ("postgresql://a:secret@127.0.0.1:9/b", "host=127.0.0.1 password=secret"):
        with pytest.raises(InputError, match="from the environment: PGPASSWORD") as told:
            export(index, f"postgres:{place}")
        assert "secret" not in str(told.value)


@pytest.fixture(scope="session")
def two_states(small_run: Path, motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of six videos, and the same without the first three and with another."""
    videos, out = sorted(motion_set.rglob("*.mp4")), tmp_path_factory.mktemp("states")
    for name, shown in (("before", videos[:6]), ("after", videos[3:7])):
        (out / name).mkdir()
        for path in shown:
            shutil.copy(path, out / name)
    return out / "before", out / "after"


@pytest.mark.parametrize("kind", ["lancedb", "qdrant", "postgres"])
def test_a_table_follows_its_index(
    kind: str, two_states: tuple[Path, Path], small_run: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """`unreel index --to` again after files came and went: what is read there is what the index has."""
    pytest.importorskip(HOME_KINDS[kind].module)
    place = request.getfixturevalue("postgres") if kind == "postgres" else str(tmp_path / "db")
    footage = tmp_path / "footage"
    for state in two_states:
        shutil.rmtree(footage, ignore_errors=True)
        shutil.copytree(state, footage)
        done = succeeds(
            "index", small_run, footage, "--out", tmp_path / "i", "--to", f"{kind}:{place}", "--table", "mine"
        )
        index = open_index(tmp_path / "i")
        assert f"#mine: {len(index.rows)} rows written" in done.out and "secret" not in done.out
        found = sorted(read_back(kind, place, "mine"))
        assert [row[:2] for row in found] == [(n, index.rows.get_path(n)) for n in range(len(index.rows))]
        vectors_ND = np.array([row[2] for row in found])
        vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors_ND, index.vectors_ND, atol=1e-5)


def read_back(kind: str, place: str, table: str) -> list[tuple[int, str, list[float]]]:
    """Row, video and vector of each, in any order."""
    if kind == "lancedb":
        import lancedb

        rows = lancedb.connect(place).open_table(table).to_arrow().to_pylist()
        return [(row["row"], row["video"], row["vector"]) for row in rows]
    if kind == "qdrant":
        import qdrant_client

        with contextlib.closing(qdrant_client.QdrantClient(path=place)) as client:
            points, _ = client.scroll(table, limit=10_000, with_vectors=True)
            vectors = [p.vector["row"] if isinstance(p.vector, dict) else p.vector for p in points]
            return [(p.id, p.payload["video"], vector) for p, vector in zip(points, vectors, strict=True)]
    import psycopg

    with psycopg.connect(place) as connection:
        rows = connection.execute(f"SELECT row, video, embedding::text FROM {table}").fetchall()
        return [(row, video, json.loads(vector)) for row, video, vector in rows]


@pytest.mark.parametrize("kind", ["lancedb", "qdrant", "postgres"])
@pytest.mark.parametrize("other", ["columns", "width"])
def test_a_table_of_something_else_is_not_replaced(
    kind: str, other: str, index: Index, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One of other columns, and one that we made of narrower vectors."""
    library = pytest.importorskip(HOME_KINDS[kind].module)
    place = request.getfixturevalue("postgres") if kind == "postgres" else str(tmp_path / "db")
    table = f"other_{other}"
    if other == "width":
        vectors_ND = grouped(30, 8)
        parts = RowParts.make_equal(("rgb",), (vectors_ND.shape[1],))
        narrow = Index(tmp_path, {}, clips(3, 10), vectors_ND, AnnIndex.build(vectors_ND), parts)
        export(narrow, f"{kind}:{place}", table)
        assert export(narrow, f"{kind}:{place}", table, replace=True) == 30
    elif kind == "lancedb":
        library.connect(place).create_table(table, [{"row": 1, "vector": [1.0, 2.0]}])
    elif kind == "qdrant":
        size = library.models.VectorParams(size=index.vectors_ND.shape[1], distance=library.models.Distance.DOT)
        with contextlib.closing(library.QdrantClient(path=place)) as client:
            client.create_collection(table, vectors_config=size)
            client.upsert(table, [library.models.PointStruct(id=1, vector=index.vectors_ND[0], payload={"name": "x"})])
    else:
        with library.connect(place) as connection:
            connection.execute(f"CREATE TABLE {table} (row bigint, video text)")
    with pytest.raises(InputError, match=f"'{table}' has other columns"):
        export(index, f"{kind}:{place}", table, replace=True)
    if other == "width":
        assert len(read_back(kind, place, table)) == 30


def test_a_broken_replacement_leaves_the_rows_of_before_in_postgres(
    index: Index, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(index, f"postgres:{postgres}", "whole")

    def cut(index: Index, most: int) -> Iterator[Any]:
        yield next(iterate_batches(index, most))
        raise KeyboardInterrupt

    monkeypatch.setattr(content, "iterate_batches", cut)
    with pytest.raises(KeyboardInterrupt):
        export(index, f"postgres:{postgres}", "whole", replace=True)
    assert len(read_back("postgres", postgres, "whole")) == len(index.rows)


def test_where_an_index_can_go_is_known_before_it_is_made(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    asked = ("index", small_run, motion_set, "--out", tmp_path / "i", "--to")
    refused(*asked, "quadrant:x", says=("unknown export format 'quadrant'", "Did you mean 'qdrant'"))
    refused(*asked, "qdrant:", says=("has no place", "qdrant:URL"))
    refused(*asked, f"numpy:{tmp_path / 'n'}", says=("written once", "unreel export INDEX --to numpy:FOLDER"))
    assert not list(tmp_path.iterdir())


def test_what_is_refused(motion_index: Path, tmp_path: Path) -> None:
    says = ("unknown export format 'parquett'", "Did you mean 'parquet'")
    refused("export", motion_index, "--to", "parquett:x", says=says)
    refused("export", motion_index, "--to", "numpy", says=("has no place", "numpy:FOLDER"))
    (tmp_path / "there").mkdir()
    for kind in ("parquet", "numpy", "fiftyone", "lightly"):
        refused("export", motion_index, "--to", f"{kind}:{tmp_path / 'there'}", says=("exists already",))
        refused("export", motion_index, "--to", f"{kind}:/proc/x/y", says=("/proc/x/y",))
    refused("export", tmp_path, "--to", "numpy:x", says=(str(tmp_path),))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(
    "kind, package", [("lancedb", "lancedb"), ("qdrant", "qdrant-client"), ("postgres", "psycopg")]
)
def test_a_library_that_is_missing_is_named(
    kind: str, package: str, motion_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        if name.startswith("unreel"):
            return importlib.import_module(name)
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(address, "importlib", SimpleNamespace(import_module=missing))
    refused("export", motion_index, "--to", f"{kind}:x", says=(f"this needs {package}", "pip install"))
    refused(
        "index", "base", motion_index, "--out", "i", "--to", f"{kind}:x", says=(f"this needs {package}", "pip install")
    )


def test_the_help_shows_every_kind_of_export() -> None:
    help_text = " ".join(succeeds("export", "--help").out.split())
    for kind, exporter in EXPORTERS.items():
        assert f"--to {kind}:{exporter.place} {exporter.summary}" in help_text
