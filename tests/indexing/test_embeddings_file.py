"""Parquet round trip, and what happens when the disk says no."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from unreel.errors import DiskError, InputError, NonFiniteError
from unreel.indexing.store import embeddings_file as store
from unreel.indexing.store.encoder_hash import describe_encoder, hash_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Embeddings
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


@pytest.fixture
def embeddings() -> Embeddings:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((7, 5)).astype(np.float32)
    paths = [f"/videos/å {n} <b>.mp4" for n in range(7)]
    return Embeddings(vectors, paths, np.arange(7) / 3, np.arange(7) / 3 + 1, ["x"] * 7)


def encoder(seed: int = 0, size: int = 32) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderSpec("tiny", "iic", ClipSpec(8, lead_in=1), ViewSpec(size=size)))


def test_round_trip_is_exact(tmp_path: Path, embeddings: Embeddings) -> None:
    path = tmp_path / "new folder" / "e.parquet"
    store.write_embeddings(embeddings, path, describe_encoder(encoder()))
    back = store.read_embeddings(path)
    np.testing.assert_array_equal(back.vectors, embeddings.vectors)
    assert back.vectors.dtype == np.float32
    assert back.paths == embeddings.paths and back.labels == embeddings.labels
    np.testing.assert_array_equal(back.start_s, embeddings.start_s)
    np.testing.assert_array_equal(back.end_s, embeddings.end_s)
    assert [f.name for f in path.parent.iterdir()] == ["e.parquet"]


def test_other_tools_find_plain_columns(tmp_path: Path, embeddings: Embeddings) -> None:
    store.write_embeddings(embeddings, tmp_path / "e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["path", "start_s", "end_s", "label", "embedding"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 5)
    assert store.read_metadata(tmp_path / "e.parquet") == {}


def test_no_rows_and_no_labels(tmp_path: Path) -> None:
    store.write_embeddings(
        Embeddings(np.zeros((0, 0), np.float32), [], np.zeros(0), np.zeros(0)), tmp_path / "e.parquet"
    )
    assert len(store.read_embeddings(tmp_path / "e.parquet")) == 0
    store.write_embeddings(
        Embeddings(np.ones((1, 2), np.float32), ["a"], np.zeros(1), np.ones(1)), tmp_path / "e.parquet"
    )
    assert store.read_embeddings(tmp_path / "e.parquet").labels == [""]


def test_metadata_tells_encoders_apart(tmp_path: Path, embeddings: Embeddings) -> None:
    store.write_embeddings(embeddings, tmp_path / "e.parquet", describe_encoder(encoder()))
    kept = store.read_metadata(tmp_path / "e.parquet")
    assert EncoderSpec.from_json(kept["encoder"]) == encoder().spec
    assert kept["encoder_hash"] == hash_encoder(encoder())
    assert len({hash_encoder(e) for e in (encoder(), encoder(seed=1), encoder(size=48))}) == 3


def test_a_full_disk_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, embeddings: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.parquet"
    store.write_embeddings(embeddings, path)
    before = path.read_bytes()

    def full(_table: pa.Table, where: Path, **_: object) -> None:
        Path(where).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.pq, "write_table", full)
    with pytest.raises(DiskError, match="No space left"):
        store.write_embeddings(embeddings, path)
    assert path.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["e.parquet"]


def test_a_folder_that_cant_be_made_is_a_disk_error(tmp_path: Path, embeddings: Embeddings) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError):
        store.write_embeddings(embeddings, tmp_path / "file" / "e.parquet")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_not_written(value: float, tmp_path: Path, embeddings: Embeddings) -> None:
    vectors = embeddings.vectors.copy()
    vectors[1, 0] = value
    with pytest.raises(NonFiniteError, match=f"{embeddings.paths[1]}: its vectors are not finite"):
        store.write_embeddings(replace(embeddings, vectors=vectors), tmp_path / "e.parquet")
    assert not list(tmp_path.iterdir())


def test_rows_must_match_paths(tmp_path: Path, embeddings: Embeddings) -> None:
    embeddings.paths.pop()
    with pytest.raises(InputError, match="6 paths"):
        store.write_embeddings(embeddings, tmp_path / "e.parquet")


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, other, lists = tmp_path / "t.parquet", tmp_path / "o.parquet", tmp_path / "l.parquet"
    text.write_text(json.dumps({}))
    pq.write_table(pa.table({"path": ["a"]}), other)
    columns = {"path": ["a"], "start_s": [0.0], "end_s": [1.0], "label": [""], "embedding": [[1.0]]}
    pq.write_table(pa.table(columns), lists)
    for path in (text, other, lists, tmp_path / "missing.parquet"):
        with pytest.raises(InputError, match=path.name):
            store.read_embeddings(path)
    with pytest.raises(InputError, match=r"t\.parquet"):
        store.read_metadata(text)
