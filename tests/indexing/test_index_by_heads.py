"""An index by the heads that an encoder was trained with: their rows against an explicit twin, and the slider."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import refused, succeeds

import unreel
from unreel.embedding import load_encoder
from unreel.errors import CheckpointError
from unreel.indexing.index.clip_index import load_query_encoder, open_index
from unreel.indexing.search.query import SearchQuery
from unreel.indexing.search.results import HitOptions
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.models.encoder.view_weights import find_slider_ends
from unreel.training.run_folder.trained_heads import load_encoder_with_heads
from unreel.types import Moment
from unreel.verbs.indexing.search import search


@pytest.fixture(scope="module")
def dual_run(motion_set: Path, small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dual") / "run"
    unreel.pretrain(motion_set / "train.txt", out, "dual", quiet=True, steps=4, monitor_epochs=0, segments=4, **small)
    return out


@pytest.fixture(scope="module")
def by_heads(dual_run: Path, motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("heads") / "index"
    succeeds("index", dual_run, motion_set, "--out", out, "--by", "heads")
    return out


def slow_head(weights: dict[str, np.ndarray], name: str, feature_D: np.ndarray, segments: int) -> np.ndarray:
    """Linear, ReLU, linear; cut into segments, each of length 1; their mean, of length 1."""
    w1, b1, w2, b2 = (weights[f"method.heads.{name}.layers.{n}.{p}"] for n in (0, 2) for p in ("weight", "bias"))
    hidden = [max(0.0, float(row @ feature_D + b)) for row, b in zip(w1, b1, strict=True)]
    out = [float(row @ np.array(hidden) + b) for row, b in zip(w2, b2, strict=True)]
    width = len(out) // segments
    parts = [np.array(out[s * width : (s + 1) * width]) for s in range(segments)]
    mean = sum(part / np.linalg.norm(part) for part in parts) / segments
    return np.asarray(mean / np.linalg.norm(mean))


def test_rows_are_the_heads_side_by_side(dual_run: Path, by_heads: Path) -> None:
    index = open_index(by_heads)
    stored = safetensors.torch.load_file(find_checkpoint(dual_run) / "training.safetensors")
    weights = {name: tensor.double().numpy() for name, tensor in stored.items() if name.startswith("method.heads.")}
    frames = torch.randint(0, 256, (2, index.metadata["encoder"]["clip"]["num_frames"], 64, 64, 3), dtype=torch.uint8)
    feature_BD = load_encoder(dual_run).extract_features(frames)["rgb"].double().numpy()
    assert index.views == ("clip", "series") and find_slider_ends(index.views) == ("the clip", "its series")
    found = load_query_encoder(index.folder, index.metadata).extract_parts(frames)
    for name, segments in (("clip", 1), ("series", 4)):
        rows_BD = found[name].double().numpy()
        for row_D, feature_D in zip(rows_BD, feature_BD, strict=True):
            expected = slow_head(weights, name, feature_D, segments)
            unit_D = row_D / np.linalg.norm(row_D)
            np.testing.assert_allclose(unit_D[: len(expected)], expected, atol=1e-5)
            assert not unit_D[len(expected) :].any()
    assert index.vectors_ND.shape[1] == 2 * 128 and found["series"][:, 64:].count_nonzero() == 0


def test_the_slider_weighs_clip_against_series(by_heads: Path, motion_set: Path) -> None:
    index = open_index(by_heads)
    row = 5
    at = Moment(index.rows.get_path(row), float(index.rows.start_s[row]), float(index.rows.end_s[row]))
    first, second = np.split(index.vectors_ND * np.sqrt(2), 2, axis=1)
    options = HitOptions(10, gap_s=-1)
    for motion, part_ND in ((0.0, first), (1.0, second)):
        score_N = part_ND @ part_ND[row]
        hits = search(index, SearchQuery(positive_rows=(row,), motion_weight=motion, own_video_mode="keep"), options)
        assert [hit.score for hit in hits] == pytest.approx(np.sort(score_N)[::-1][:10].tolist(), abs=1e-4)
    assert search(index, SearchQuery((at,), own_video_mode="keep"), options)[0].score > 0.999


def test_features_and_heads_are_not_mixed(dual_run: Path, by_heads: Path, motion_set: Path) -> None:
    refused("index", dual_run, motion_set, "--out", by_heads, says=("another",))


def test_what_has_no_heads_says_so(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    refused("index", small_run, motion_set, "--out", tmp_path / "i", "--by", "heads", says=("no heads of its own",))
    with pytest.raises(CheckpointError, match="no heads"):
        load_encoder_with_heads(load_encoder(small_run), small_run)


def test_a_head_that_was_not_trained_is_no_part_of_a_row(
    motion_set: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    options = {"quiet": True, "steps": 1, "monitor_epochs": 0, "series": False, "shuffle_rank": False}
    unreel.pretrain(motion_set / "train.txt", tmp_path / "run", "dual", **options, **small)
    assert load_encoder_with_heads(load_encoder(tmp_path / "run"), tmp_path / "run").spec.part_names == ("clip",)
