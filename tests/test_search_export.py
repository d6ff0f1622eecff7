"""An index for other programs: every form read back by what it is for, or by its own reader where that is installed."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import refused, succeeds

from unreel.errors import InputError
from unreel.search import databases
from unreel.search.databases import to_pgvector
from unreel.search.embeddings import read, read_metadata
from unreel.search.index import Index, open_index


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unreel.search.export.BATCH", 7)


def test_parquet_is_read_as_embeddings(motion_index: Path, index: Index, tmp_path: Path) -> None:
    done = succeeds("export", motion_index, "--to", f"parquet:{tmp_path / 'a.parquet'}")
    assert f"{len(index.rows)} rows written" in done.out
    found, stored = read(tmp_path / "a.parquet"), read(motion_index)
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
    assert [row["video"] for row in rows] == [index.rows.path(n) for n in range(len(index.rows))]


def test_fiftyone_gets_a_clip_per_row(motion_index: Path, index: Index, tmp_path: Path) -> None:
    """The form that its documentation gives for FiftyOneTemporalDetectionDataset; absolute paths are names there."""
    succeeds("export", motion_index, "--to", f"fiftyone:{tmp_path / 'f'}")
    found = json.loads((tmp_path / "f" / "labels.json").read_text())
    assert set(found) == {"classes", "labels"} and set(found["labels"]) == set(index.rows.paths)
    clips = [clip for clips in found["labels"].values() for clip in clips]
    assert all(set(clip) == {"label", "timestamps", "attributes"} for clip in clips)
    assert {clip["label"] for clip in clips} == set(found["classes"])
    by_row = {clip["attributes"]["row"]: clip["timestamps"] for clip in clips}
    assert by_row == {n: [index.rows.start_s[n], index.rows.end_s[n]] for n in range(len(index.rows))}
    np.testing.assert_array_equal(np.load(tmp_path / "f" / "embeddings" / "vectors.npy"), index.vectors_ND)


def test_lightly_gets_the_mean_of_each_video(motion_index: Path, index: Index, tmp_path: Path) -> None:
    succeeds("export", motion_index, "--to", f"lightly:{tmp_path / 'l.csv'}")
    with (tmp_path / "l.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    dim = index.vectors_ND.shape[1]
    assert rows[0] == ["filenames", *(f"embedding_{n}" for n in range(dim)), "labels"]
    assert [row[0] for row in rows[1:]] == index.rows.paths and {row[-1] for row in rows[1:]} == {"0"}
    mean_D = index.vectors_ND[index.rows.path_N == 3].mean(axis=0)
    np.testing.assert_allclose(np.array(rows[4][1:-1], float), mean_D / np.linalg.norm(mean_D), atol=1e-5)


def nearest_twin(index: Index, row: int) -> list[int]:
    return np.argsort(-(index.vectors_ND @ index.vectors_ND[row]), kind="stable")[:3].tolist()


def test_lancedb_finds_what_we_find(motion_index: Path, index: Index, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    succeeds("export", motion_index, "--to", f"lancedb:{tmp_path / 'l'}", "--table", "clips")
    table = lancedb.connect(str(tmp_path / "l")).open_table("clips")
    rows = table.to_arrow().to_pylist()
    assert [row["video"] for row in rows] == [index.rows.path(n) for n in range(len(index.rows))]
    found = table.search(index.vectors_ND[9]).distance_type("dot").limit(3).to_list()
    scores = index.vectors_ND @ index.vectors_ND[9]
    np.testing.assert_allclose([scores[f["row"]] for f in found], scores[nearest_twin(index, 9)], atol=1e-6)
    refused(
        "export", motion_index, "--to", f"lancedb:{tmp_path / 'l'}", "--table", "clips", says=("'clips' is there already",)
    )


def test_qdrant_finds_what_we_find(motion_index: Path, index: Index, tmp_path: Path) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    succeeds("export", motion_index, "--to", f"qdrant:{tmp_path / 'q'}")
    client = qdrant.QdrantClient(path=str(tmp_path / "q"))
    assert client.count("unreel").count == len(index.rows)
    found = client.query_points("unreel", query=index.vectors_ND[9].tolist(), limit=3).points
    scores = index.vectors_ND @ index.vectors_ND[9]
    np.testing.assert_allclose([f.score for f in found], scores[nearest_twin(index, 9)], atol=1e-5)
    assert found[0].payload["video"] == index.rows.path(found[0].id)
    client.close()
    refused("export", motion_index, "--to", f"qdrant:{tmp_path / 'q'}", says=("'unreel' is there already",))
    refused("export", motion_index, "--to", "qdrant:http://127.0.0.1:9", says=("127.0.0.1:9", "does it answer"))


def test_an_export_to_qdrant_that_breaks_off_leaves_nothing(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qdrant = pytest.importorskip("qdrant_client")

    def two(index: Index) -> Iterator[Any]:
        from unreel.search.export import batches

        yield next(batches(index))
        raise OSError("the line is cut")

    monkeypatch.setattr(databases, "batches", two)
    with pytest.raises(InputError, match="the line is cut"):
        databases.to_qdrant(index, str(tmp_path / "q"))
    assert not qdrant.QdrantClient(path=str(tmp_path / "q")).collection_exists("unreel")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with pgvector, where pgserver is installed."""
    pgserver = pytest.importorskip("pgserver")
    folder = Path("/var/tmp") / f"unreel-pg-{tmp_path_factory.getbasetemp().parent.name}"
    server = pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


def test_pgvector_finds_what_we_find(motion_index: Path, index: Index, postgres: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    succeeds("export", motion_index, "--to", f"pgvector:{postgres}", "--table", "clips")
    asked = "[" + ",".join(map(str, index.vectors_ND[9])) + "]"
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM clips").fetchone()[0] == len(index.rows)
        order = "SELECT row, video, -(embedding <#> %s::vector) FROM clips ORDER BY 3 DESC LIMIT 3"
        found = connection.execute(order, (asked,)).fetchall()
    scores = index.vectors_ND @ index.vectors_ND[9]
    np.testing.assert_allclose([f[2] for f in found], scores[nearest_twin(index, 9)], atol=1e-5)
    assert found[0][1] == index.rows.path(found[0][0])
    refused("export", motion_index, "--to", f"pgvector:{postgres}", "--table", "clips", says=("'clips' is there already",))


def test_a_server_that_does_not_answer(motion_index: Path, index: Index) -> None:
    pytest.importorskip("psycopg")
    refused("export", motion_index, "--to", "pgvector:postgresql://a:secret@127.0.0.1:9/b", says=("does it answer",))
    with pytest.raises(InputError) as told:
        to_pgvector(index, "postgresql://a:secret@127.0.0.1:9/b")
    assert "secret" not in str(told.value)


def test_what_is_refused(motion_index: Path, tmp_path: Path) -> None:
    refused("export", motion_index, "--to", "parquett:x", says=("unknown form 'parquett'", "Did you mean 'parquet'"))
    refused("export", motion_index, "--to", "numpy", says=("says no place", "numpy:PLACE"))
    (tmp_path / "there").mkdir()
    for kind in ("parquet", "numpy", "fiftyone", "lightly"):
        refused("export", motion_index, "--to", f"{kind}:{tmp_path / 'there'}", says=("exists already",))
        refused("export", motion_index, "--to", f"{kind}:/proc/x/y", says=("/proc/x/y",))
    refused("export", tmp_path, "--to", "numpy:x", says=(str(tmp_path),))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(
    "kind, package", [("lancedb", "lancedb"), ("qdrant", "qdrant-client"), ("pgvector", "psycopg")]
)
def test_a_library_that_is_missing_is_named(
    kind: str, package: str, motion_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(databases.importlib, "import_module", missing)
    refused("export", motion_index, "--to", f"{kind}:x", says=(f"this needs {package}", "pip install"))
