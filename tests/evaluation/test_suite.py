"""One pass for every evaluation: what is decoded, how often the network is called, and what the results say."""

import dataclasses
import json
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import refused, succeeds
from evaluations import retrieve

import unreel
from unreel.errors import InputError
from unreel.evaluation import suite
from unreel.evaluation.contamination import find_contamination
from unreel.evaluation.feature_extraction import extract_features
from unreel.evaluation.feature_protocol import ExtractionOptions
from unreel.evaluation.finetuning.recipe_presets import RECIPE_PRESETS
from unreel.evaluation.labelled_videos import LabelledVideos, hash_videos, load_labelled_videos
from unreel.evaluation.protocol_registry import build_standard_suite
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, build_query_gallery
from unreel.evaluation.video_features import ENCODER, FeatureKey
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.report.comparison import comparability
from unreel.types import Instance
from unreel.verbs.evaluation import evaluate_all
from unreel.video.loading import clip_dataset
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.perturb import PERTURBATIONS
from unreel.views.view_spec import ViewSpec

LOOKING = ExtractionOptions(num_clips=2)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(1)
    return Encoder(EncoderSpec("tiny", "iic", ClipSpec(8, lead_in=1), ViewSpec(size=32))).eval()


@pytest.fixture(scope="module")
def both(motion_set: Path) -> LabelledVideos:
    return load_labelled_videos(motion_set)


@pytest.fixture(scope="module")
def counts() -> Counter[str]:
    """How often each file was read, and, under "network", how often the network was called, by `evaluated`."""
    return Counter()


@pytest.fixture(scope="module")
def evaluated(encoder: Encoder, both: LabelledVideos, counts: Counter[str]) -> suite.SuiteResult:
    read, compute_maps = clip_dataset.read_frames, encoder._compute_maps

    def counted(path: str, *args: object) -> np.ndarray:
        counts[path] += 1
        return read(path, *args)  # type: ignore[arg-type]

    def called(*args: Any) -> dict[str, torch.Tensor]:
        counts["network"] += 1
        return compute_maps(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_compute_maps", called)
        patch.setattr(clip_dataset, "read_frames", counted)
        result = suite.run_evaluations(encoder, both.train, both.test, build_standard_suite(LOOKING), LOOKING)
    return result


@pytest.mark.usefixtures("evaluated")
def test_everything_decodes_once_and_calls_the_network_once_for_each_kind_of_clip(
    encoder: Encoder, both: LabelledVideos, counts: Counter[str]
) -> None:
    videos = [*both.train, *both.test]
    calls = len(videos) * (1 + len(PERTURBATIONS))  # all views in one call
    assert counts == {i.path: 1 for i in videos} | {"network": calls}


def test_the_suite_says_what_each_evaluation_says_alone(
    encoder: Encoder, both: LabelledVideos, evaluated: suite.SuiteResult
) -> None:
    alone = retrieve(encoder, both.train, both.test, RetrievalProtocol(num_clips=2))
    assert evaluated.results["retrieval"].rows == alone.rows
    assert evaluated.results["retrieval"].intervals == alone.intervals
    for name, evaluation in build_standard_suite(LOOKING).items():
        own = suite.run_evaluations(encoder, both.train, both.test, {name: evaluation}, LOOKING).results[name]
        assert own.rows == evaluated.results[name].rows, name


def test_results_travel_as_json_and_name_their_protocol(evaluated: suite.SuiteResult) -> None:
    assert list(evaluated.results) == list(build_standard_suite(LOOKING))
    assert set(evaluated.seconds) == {"features", *build_standard_suite(LOOKING)}
    for name, result in evaluated.results.items():
        data = json.loads(json.dumps(result.to_json(), allow_nan=False))
        assert data["rows"] == result.rows and result.caption, name
        assert {"num_clips", "num_crops", "views", "left_out", "size", "backbone"} <= result.protocol.keys(), name
        said = " ".join(result.rows)
        for floor in ("chance", "mean frame (pixels)", "colour histogram", "frame difference", "untrained encoder"):
            assert floor in said, (name, floor)


def test_single_clips_are_kept_where_they_are_needed_and_nowhere_else(evaluated: suite.SuiteResult) -> None:
    assert set(evaluated.train_features.clip_vectors) == {
        FeatureKey(ENCODER, "pooled"),
        FeatureKey("untrained encoder", "pooled"),
    }
    clips = evaluated.train_features.clip_vectors[FeatureKey(ENCODER, "pooled")]
    assert clips.shape[:2] == (len(evaluated.train_features.instances), 2)
    np.testing.assert_allclose(
        clips.mean(axis=1), evaluated.train_features.vectors[FeatureKey(ENCODER, "pooled")], atol=1e-6
    )
    tampered = [b for b in evaluated.train_features.vectors if b.condition != "intact"]
    assert tampered and {b.layer for b in tampered} == {"pooled", "pixels"}


def test_features_stand_once_in_memory(encoder: Encoder, both: LabelledVideos) -> None:
    """The peak of a pass is one array of N rows for each block, and little beside it; centring adds no copy."""
    wide = 200_000

    def source(frames: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        return {FeatureKey(ENCODER, "conv5"): {"rgb": np.full((1, wide), number + 1.0, np.float32)}}

    array_bytes = 4 * wide * len(both.train)
    tracemalloc.start()
    found = extract_features(both.train, encoder.spec, [source], 1)
    _, peak = tracemalloc.get_traced_memory()
    assert array_bytes <= peak < 1.5 * array_bytes
    protocol = RetrievalProtocol(centring="gallery", ks=(1,))
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    build_query_gallery(found, found, FeatureKey(ENCODER, "conv5"), slice(None), protocol)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 0.25 * array_bytes


def test_a_file_that_cannot_be_read_is_left_out_and_said(
    encoder: Encoder, both: LabelledVideos, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    train = [Instance(str(broken), 999, 0.0, 1.0, both.train[0].label), *both.train]
    asked = {n: build_standard_suite(LOOKING)[n] for n in ("retrieval", "knn")}
    done = suite.run_evaluations(encoder, train, both.test, asked, LOOKING)
    whole = suite.run_evaluations(encoder, both.train, both.test, asked, LOOKING)
    for name in asked:
        assert [f["path"] for f in done.results[name].protocol["left_out"]] == [str(broken)]
        assert done.results[name].rows == whole.results[name].rows


def test_odd_wishes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1, 3, 5 or 10 crops"):
        ExtractionOptions(num_crops=2)
    with pytest.raises(InputError, match="num_clips=0"):
        ExtractionOptions(num_clips=0)


def test_contamination_is_said_for_each_side(small_run: Path, motion_set: Path, both: LabelledVideos) -> None:
    said = [c.text for c in find_contamination(small_run, both)]
    assert any(f"{len(both.train)} of {len(both.train)} training videos" in s for s in said)
    assert not any("test videos were" in s for s in said)
    swapped = dataclasses.replace(both, train=both.test, test=both.train)
    assert any("test videos were in pre-training" in c.text for c in find_contamination(small_run, swapped))


def test_contamination_is_known_from_a_checkpoint_and_doubted_without_a_run(
    small_run: Path, both: LabelledVideos, tmp_path: Path
) -> None:
    checkpoint = find_checkpoint(small_run)
    assert find_contamination(checkpoint, both) == find_contamination(small_run, both)
    assert evaluate_all.read_training_seed(checkpoint) == evaluate_all.read_training_seed(small_run) is not None
    shutil.copytree(checkpoint, tmp_path / "bare")
    assert "not known" in find_contamination(tmp_path / "bare", both)[0].text
    assert evaluate_all.read_training_seed(tmp_path / "bare") is None


def test_a_result_of_another_protocol_is_kept_beside(small_run: Path, motion_set: Path) -> None:
    for num_clips in (3, 4, 3):
        succeeds("evaluate", "retrieval", small_run, motion_set, "--num-clips", num_clips, "--no-floors")
    kept = [json.loads(f.read_text()) for f in (small_run / "evaluations").glob(f"retrieval-{motion_set.name}*.json")]
    assert sorted(k["protocol"]["num_clips"] for k in kept if k["protocol"]["num_clips"] > 2) == [3, 4]


def test_clips_can_ask_by_themselves(small_run: Path, motion_set: Path) -> None:
    done = succeeds("evaluate", "retrieval", small_run, motion_set, "--unit", "clip", "--num-clips", 2, "--json")
    assert "each clip is a query" in json.loads(done.out)["caption"] and "20 videos only" not in done.err


@pytest.fixture
def short_finetuning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default recipe without its least number of steps, of which test_finetune.py speaks."""
    short = dataclasses.replace(RECIPE_PRESETS["small"](), epochs=1, min_steps=0)
    monkeypatch.setitem(RECIPE_PRESETS, "small", lambda: short)


@pytest.mark.usefixtures("short_finetuning")
def test_few_labels_by_share_can_be_finetuned(small_run: Path, motion_set: Path) -> None:
    options = ("--finetune", "--ks", 1, "--shares", 0.5, "--draws", 1, "--num-clips", 1, "--json")
    told = json.loads(succeeds("evaluate", "few-labels", small_run, motion_set, *options).out)
    assert list(told["rows"]["fine-tuned"]) == ["50 %", "1 per class", "all"]
    refused("evaluate", "few-labels", small_run, motion_set, "--finetune", "--num-crops", 3, says=("--num-crops",))


def test_the_data_hash_knows_contents_labels_and_sides(both: LabelledVideos) -> None:
    first = hash_videos(both)
    assert first == hash_videos(both)
    relabelled = [dataclasses.replace(both.train[0], label="other"), *both.train[1:]]
    assert hash_videos(dataclasses.replace(both, train=relabelled)) != first
    moved = dataclasses.replace(both, train=both.train[1:], test=[*both.test, both.train[0]])
    assert hash_videos(moved) != first


@pytest.fixture(scope="module")
def eval_folder(small_run: Path, motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluations") / "EVAL"
    done = succeeds("evaluate", "all", small_run, motion_set, "--out", out, "--num-clips", 2)
    assert "report.html" in done.out and "Retrieval" in done.out
    return out


def test_evaluate_all_writes_one_json_and_one_page(eval_folder: Path, small_run: Path, motion_set: Path) -> None:
    data = json.loads((eval_folder / "results.json").read_text())
    assert set(data["results"]) == set(build_standard_suite(LOOKING))
    assert data["data"]["hash"] and data["versions"]["torch"] and data["contamination"] and data["seconds"]["features"]
    assert (eval_folder / "report.html").stat().st_size > 10_000
    refused("evaluate", "all", small_run, motion_set, "--out", eval_folder, says=("exists already",))


def test_two_runs_give_the_same_digits_and_stand_side_by_side(
    eval_folder: Path, small_run: Path, motion_set: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    succeeds("evaluate", "all", small_run, motion_set, "--out", again, "--num-clips", 2)
    first, second = (json.loads((f / "results.json").read_text()) for f in (eval_folder, again))
    assert first["results"] == second["results"] and first["data"] == second["data"]
    done = succeeds("compare", eval_folder, again, "--out", tmp_path / "page.html")
    assert "R@1" in done.out and (tmp_path / "page.html").exists()


@pytest.mark.parametrize("what", ["retrieval", "knn", "linear", "few-labels", "motion"])
def test_each_evaluation_is_a_command(what: str, small_run: Path, motion_set: Path) -> None:
    told = json.loads(succeeds("evaluate", what, small_run, motion_set, "--num-clips", 1, "--json").out)
    assert told["kind"] == what and told["rows"] and told["protocol"]["data"]
    files = (small_run / "evaluations").glob(f"{what}-{motion_set.name}*.json")
    kept = [json.loads(path.read_text()) for path in files]
    made_by = [result.pop("provenance") for result in kept]
    assert told in kept
    assert all(record["command"].startswith(f"unreel evaluate {what}") for record in made_by)
    assert all(record["training"]["data"]["videos"] == 16 for record in made_by)


@pytest.mark.usefixtures("short_finetuning")
def test_finetuning_is_a_command(small_run: Path, motion_set: Path) -> None:
    options = ("--epochs", 1, "--num-clips", 1, "--no-scratch", "--json")
    told = json.loads(succeeds("evaluate", "finetune", small_run, motion_set, *options).out)
    assert told["kind"] == "finetune" and "fine-tuned" in told["rows"]


def test_detection_is_a_command(small_run: Path, tmp_path: Path) -> None:
    unreel_boxes(tmp_path / "boxes")
    told = json.loads(succeeds("evaluate", "detection", small_run, tmp_path / "boxes", "--json").out)
    assert told["kind"] == "detection" and told["rows"]


def unreel_boxes(out: Path) -> None:
    from unreel.corpus.motion_set.boxes import make_box_set

    make_box_set(out, 6, seed=0, seconds=2)


def test_bad_wishes_are_one_line(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    refused("evaluate", "retrieval", small_run, motion_set, "--layout", "ucf", says=("layout 'ucf'", "ucf101"))
    refused("evaluate", "knn", small_run, motion_set, "--ks", 0, says=("0",))
    refused("evaluate", "retrieval", small_run, motion_set, "--baseline", tmp_path / "none", says=("none",))
    refused("evaluate", "retrieval", small_run, motion_set, "--fps", 5, "--stride-frames", 2, says=("fps", "stride"))
    refused("evaluate", "retrieval", small_run, motion_set, "--fps", "inf", says=("fps=inf",))
    refused("evaluate", "linear", small_run, motion_set, "--seed", -1, says=("-1",))
    refused("evaluate", "knn", small_run, motion_set, "--temperature", "nan", says=("nan",))
    refused("evaluate", "few-labels", small_run, motion_set, "--draws", 0, says=("draws=0",))
    refused("compare", tmp_path / "none", says=("none",))
    refused("data", "check", tmp_path / "none", says=("none",))
    refused("data", "chek", says=("data check",))


def test_data_check_tells_what_is_there(motion_set: Path) -> None:
    assert "complete" in succeeds("data", "check", motion_set).out


def test_the_python_interface_is_the_same(small_run: Path, motion_set: Path) -> None:
    result = unreel.evaluate_retrieval(small_run, motion_set, num_clips=1)
    assert result.rows["joint"]["R@1"] >= 0


def test_each_key_of_a_protocol_belongs_to_a_group(evaluated: suite.SuiteResult) -> None:
    """A comparison must know whether a new key describes the encoder, the result, a count or the measurement."""
    known = comparability.ENCODER_KEYS | comparability.RESULT_KEYS | comparability.COUNT_KEYS
    known |= comparability.MEASUREMENT_KEYS
    for name, result in evaluated.results.items():
        assert not result.protocol.keys() - known, name
