"""The encoder as a model of MTEB: what its protocol asks for, by shape; and where mteb is installed, its own runner."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import unreel

sys.path.append(str(Path(__file__).parents[2] / "examples"))


@pytest.fixture(scope="module")
def paths(motion_set: Path) -> list[str]:
    return [str(path) for path in sorted(motion_set.rglob("*.mp4"))[:4]]


@pytest.fixture(scope="module")
def model(small_run: Path) -> unreel.MtebModel:
    return unreel.MtebModel(small_run, num_clips=2, device="cpu")


class StoredVideo:
    """The column type of a Hugging Face data set, as far as it is looked at."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class VideoSet:
    """A data set of Hugging Face, as far as it is looked at: decoding is forbidden."""

    def __init__(self, paths: list[str], column: StoredVideo) -> None:
        self.paths, self.features = paths, {"video": column}

    def cast_column(self, name: str, column: StoredVideo) -> "VideoSet":
        assert name == "video"
        return VideoSet(self.paths, column)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, n: int) -> dict[str, Any]:
        assert not self.features["video"].decode, "the video was decoded"
        return {"video": {"path": self.paths[n], "bytes": None}}


def collate(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {"video": [row["video"] for row in rows]}


def test_rows_are_those_of_embed_however_a_video_is_handed_over(
    model: unreel.MtebModel, small_run: Path, paths: list[str]
) -> None:
    expected = unreel.load_encoder(small_run).embed(paths, num_clips=2).vectors
    first, second, third, fourth = paths
    mixed: list[Any] = [
        first,
        {"path": second, "bytes": None},
        {"path": None, "bytes": Path(third).read_bytes()},
        SimpleNamespace(_hf_encoded={"path": fourth, "bytes": None}),  # a decoder of torchcodec, made by `datasets`
    ]
    task = {"task_metadata": None, "hf_split": "test", "hf_subset": "default", "prompt_type": None, "batch_size": 2}
    found = model.encode([{"video": mixed[:3]}, {"video": mixed[3:]}], **task)
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6)
    loader = DataLoader(VideoSet(paths, StoredVideo()), 3, collate_fn=collate)  # type: ignore[arg-type]
    assert np.allclose(model.encode(loader, **task), expected, atol=1e-6)


def test_similarities_are_cosines(model: unreel.MtebModel) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 5, 7))
    expected = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    assert torch.allclose(model.similarity(a, torch.as_tensor(b)), torch.tensor(expected).float(), atol=1e-6)
    assert torch.allclose(model.similarity_pairwise(a, b), torch.tensor(expected).float().diag(), atol=1e-6)
    assert model.similarity(a[0], b).shape == (1, 5)


def test_mistakes_are_told(model: unreel.MtebModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(unreel.UnreelError, match="videos alone; this batch has text"):
        model.encode([{"text": ["a dog"]}])
    with pytest.raises(unreel.UnreelError, match="got Tensor"):
        model.encode([{"video": [torch.zeros(3)]}])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(unreel.UnreelError, match=r"broken\.mp4"):
        model.encode([{"video": [tmp_path / "broken.mp4"]}])
    with pytest.raises(unreel.UnreelError, match="neither a run nor a checkpoint"):
        unreel.MtebModel(tmp_path)
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(unreel.UnreelError, match=r"unreel\[mteb\]"):
        _ = model.mteb_model_meta


def test_the_version_is_that_of_the_weights(model: unreel.MtebModel, small_run: Path) -> None:
    again, base = unreel.MtebModel(small_run, device="cpu"), unreel.MtebModel(device="cpu")
    assert again.revision == model.revision != base.revision
    assert unreel.MtebModel(small_run, "first", device="cpu").revision == "first"


@pytest.mark.filterwarnings("ignore")  # of other packages
def test_mteb_evaluates_it_on_local_videos(small_run: Path, motion_set: Path) -> None:
    """Its own runner, on a classification and a retrieval task made of drawn videos; scores against slow twins."""
    mteb = pytest.importorskip("mteb", exc_type=ImportError)
    import mteb_local

    model = unreel.MtebModel(small_run, num_clips=1)
    assert isinstance(model, mteb.models.EncoderProtocol)
    assert model.mteb_model_meta.modalities == ["video"]
    scores = mteb_local.evaluate(str(small_run), motion_set, num_clips=1)
    accuracy = scores["LocalVideoClassification"]["accuracy"]
    assert 0 <= accuracy <= 1 and (8 * 10 * accuracy) % 1 == pytest.approx(0, abs=1e-6)  # 8 videos, ten draws
    videos = mteb_local.load_labelled_videos(motion_set)
    train, test = ([v.path for v in part] for part in (videos.train, videos.test))
    encoder = unreel.load_encoder(small_run)
    best_Q = (encoder.embed(test, num_clips=1).vectors @ encoder.embed(train, num_clips=1).vectors.T).argmax(axis=1)
    hits = [videos.train[n].label == video.label for n, video in zip(best_Q, videos.test, strict=True)]
    assert scores["LocalVideoRetrieval"]["hit_rate_at_1"] == pytest.approx(np.mean(hits))
