"""What is kept of single test videos: their mean is the figure, and any R@k follows from a rank."""

import json
from pathlib import Path

import numpy as np
import pytest
from evaluations import save, summary

from unreel.errors import RunError
from unreel.evaluation.protocols.knn import evaluate_knn
from unreel.evaluation.protocols.linear_probe import LinearProtocol, evaluate_linear
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, evaluate_retrieval
from unreel.evaluation.result import FIRST_HIT, Result
from unreel.evaluation.video_features import ENCODER, FeatureKey, VideoFeatures
from unreel.io.text import format_json
from unreel.models.encoder.spec import EncoderSpec
from unreel.report.results_file import load_summary
from unreel.types import Instance
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

SPEC = EncoderSpec("tiny", "iic", ClipSpec(8), ViewSpec(("rgb",), 32))
KEY, PIXELS = FeatureKey(ENCODER, "pooled"), FeatureKey("frame difference", "pixels")


def draw_features(part: str, count: int, seed: int) -> VideoFeatures:
    """Videos of three classes whose features show them faintly; the test list has a class that the gallery lacks."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, count)
    instances = [Instance(f"{part}/{n}.mp4", n, 0.0, 1.0, f"c{c}", f"{part}{n // 2}") for n, c in enumerate(classes)]
    if part == "test":
        instances[0] = Instance("test/0.mp4", 0, 0.0, 1.0, "elsewhere", "test0")
    rows_ND = rng.normal(size=(count, 6)) + 1.2 * np.eye(6)[classes]
    vectors = {KEY: rows_ND.astype(np.float32), PIXELS: rng.normal(size=(count, 4)).astype(np.float32)}
    columns = {KEY: {"rgb": slice(0, 6)}, PIXELS: {"pixels": slice(0, 4)}}
    clips = {key: rows[:, None] + rng.normal(size=(count, 2, rows.shape[1])) / 4 for key, rows in vectors.items()}
    return VideoFeatures(instances, vectors, columns, clips)


@pytest.fixture(scope="module")
def lists() -> tuple[VideoFeatures, VideoFeatures]:
    return draw_features("train", 40, 1), draw_features("test", 24, 2)


def slow_rank(query_D: np.ndarray, label: str, gallery: VideoFeatures) -> int:
    """The first place of the class in the gallery sorted by cosine, 0 where it has none."""
    scored = []
    for n, row_D in enumerate(gallery.vectors[KEY].astype(np.float64)):
        scored.append((-np.float32(query_D @ row_D / np.linalg.norm(query_D) / np.linalg.norm(row_D)), n))
    places = [k for k, (_, n) in enumerate(sorted(scored), start=1) if gallery.instances[n].label == label]
    return places[0] if places else 0


def test_ranks_are_those_of_a_sorted_gallery_and_every_figure_is_their_mean(
    lists: tuple[VideoFeatures, VideoFeatures],
) -> None:
    gallery, query = lists
    result = evaluate_retrieval(gallery, query, SPEC, RetrievalProtocol(ks=(1, 5, 39, 40, 50)))
    expected = [
        slow_rank(row_D, i.label, gallery)
        for row_D, i in zip(query.vectors[KEY].astype(np.float64), query.instances, strict=True)
    ]
    assert result.outcomes["rgb"][FIRST_HIT] == expected and expected[0] == 0 and max(expected) > 1
    for row, kept in result.outcomes.items():
        assert list(kept) == [FIRST_HIT, "mAP"]
        for column, figure in result.rows[row].items():
            outcomes = result.get_outcomes(row, column)
            assert outcomes is not None and outcomes.mean() == pytest.approx(figure, abs=1e-4), (row, column)
    assert set(result.outcomes) == set(result.rows) - {"chance"}


def test_clips_as_queries_keep_the_mean_of_each_video(lists: tuple[VideoFeatures, VideoFeatures]) -> None:
    result = evaluate_retrieval(*lists, SPEC, RetrievalProtocol(unit="clip", ks=(1, 5)))
    assert FIRST_HIT not in result.outcomes["rgb"] and len(result.outcomes["rgb"]["R@1"]) == 24
    for column, figure in result.rows["rgb"].items():
        assert np.mean(result.outcomes["rgb"][column]) == pytest.approx(figure, abs=1e-4)


@pytest.mark.parametrize("kind", ["knn", "linear"])
def test_classifiers_keep_who_is_right_and_every_row_but_chance_has_an_interval(
    lists: tuple[VideoFeatures, VideoFeatures], kind: str
) -> None:
    run = evaluate_knn if kind == "knn" else lambda *both: evaluate_linear(*both, LinearProtocol("logistic", cs=(1.0,)))
    result = run(*lists)
    column = result.main_column
    for row, kept in result.outcomes.items():
        assert set(kept[column]) <= {0, 100} and np.mean(kept[column]) == pytest.approx(result.rows[row][column])
    assert set(result.outcomes) == {"rgb", "frame difference"}
    assert set(result.intervals) == set(result.rows) - {"chance"}
    low, high = result.intervals["majority class"][column]
    assert low <= result.rows["majority class"][column] <= high and low < high


def test_floors_show_their_interval() -> None:
    made = Result("knn", "t", {"a": {"x": 40.0}}, "c", {}, {"a": {"x": (31.0, 52.0)}}, floors={"a": "a floor"})
    assert made.format_cell("a", "x", 40.0) == "40.0 [31, 52]"
    assert made.format_cell("a", "x", 40.0, with_interval=False) == "40.0"


def test_numbers_of_a_list_stand_on_one_line() -> None:
    data = {"ranks": [1, 7, 0], "figures": [[-1.5, 2e-07], []], "names": ["[\n 1,\n 2\n]", "b"], "mixed": [1, "a"]}
    text = format_json(data)
    assert json.loads(text) == data
    assert '"ranks": [1, 7, 0]' in text and "[-1.5, 2e-07]" in text and '[\n    "[' in text
    with pytest.raises(ValueError):
        format_json([float("nan")])


def test_results_are_read_with_outcomes_and_without(tmp_path: Path) -> None:
    old = load_summary(save(tmp_path / "old", summary())).results["retrieval"]
    assert old.outcomes == {} and old.get_outcomes("joint", "R@1") is None
    data = summary(test_videos={"path": ["a", "b"], "label": ["x", "y"], "group": ["", ""]})
    data["results"]["retrieval"]["outcomes"] = {"joint": {FIRST_HIT: [1, 3], "mAP": [100.0, 20.5]}}
    new = load_summary(save(tmp_path / "new", data)).results["retrieval"]
    assert new.test_videos["path"] == ["a", "b"]
    assert [new.get_outcomes("joint", column).tolist() for column in ("R@1", "R@5", "mAP")] == [
        [100.0, 0.0],
        [100.0, 100.0],
        [100.0, 20.5],
    ]


@pytest.mark.parametrize("broken", [[1], [1, "far"], [1, None], "12"])
def test_broken_outcomes_are_refused(tmp_path: Path, broken: object) -> None:
    data = summary(test_videos={"path": ["a", "b"], "label": ["x", "y"], "group": ["", ""]})
    data["results"]["retrieval"]["outcomes"] = {"joint": {FIRST_HIT: broken}}
    with pytest.raises(RunError, match="evaluate again"):
        load_summary(save(tmp_path / "new", data))
