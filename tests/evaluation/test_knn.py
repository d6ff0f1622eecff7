"""kNN votes against an explicit double loop and scikit-learn, and the parts that all classifiers share."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from unreel.errors import InputError
from unreel.evaluation.baselines.chance import CHANCE, MAJORITY_CLASS, compute_guess_rows
from unreel.evaluation.baselines.trivial_baselines import MEAN_FRAME, PIXEL_LAYER
from unreel.evaluation.metrics.accuracy import MEAN_CLASS_ACCURACY
from unreel.evaluation.probes import grid_search
from unreel.evaluation.probes.knn_votes import predict_knn
from unreel.evaluation.protocols.knn import KnnProtocol, evaluate_knn
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import JOINT, FeatureKey, VideoFeatures
from unreel.types import Instance

CLASSES = ["a", "b", "c"]
POOLED = FeatureKey("encoder", "pooled")


def features(
    clips_NVD: np.ndarray, labels: list[str], groups: list[str] | None = None, part: str = "train"
) -> VideoFeatures:
    """Videos whose encoder has two views, the halves of D, and one floor made of the first column's sign."""
    groups = groups or [""] * len(labels)
    named = enumerate(zip(labels, groups, strict=True))
    instances = [Instance(f"{part}{n}.mp4", n, 0.0, 1.0, label, group) for n, (label, group) in named]
    clips_NVD = clips_NVD.astype(np.float32)
    half, floor = clips_NVD.shape[2] // 2, FeatureKey(MEAN_FRAME, PIXEL_LAYER)
    mean_ND = clips_NVD.mean(axis=1)
    vectors = {floor: np.sign(mean_ND[:, :1]) + 0.5, POOLED: mean_ND}
    views = {"rgb": slice(0, half), "residual": slice(half, clips_NVD.shape[2])}
    columns, spans_s = {floor: {PIXEL_LAYER: slice(0, 1)}, POOLED: views}, np.zeros((*clips_NVD.shape[:2], 2))
    return VideoFeatures(instances, vectors, columns, {POOLED: clips_NVD}, spans_s)


def toy(videos: int, noise: float, seed: int, part: str = "train", dims: int = 8, classes: int = 3) -> VideoFeatures:
    """Classes around fixed directions, one for each; 3 clips a video, groups of 4 videos of one class."""
    rng = np.random.default_rng(seed)
    centre_CD = np.random.default_rng(1234).standard_normal((classes, dims)) * 3
    class_N = np.arange(videos) // 4 % classes
    clips = centre_CD[class_N][:, None] + noise * rng.standard_normal((videos, 3, dims))
    return features(clips, [f"c{c}" for c in class_N], [f"{part}-g{n // 4}" for n in range(videos)], part)


def noise_only(videos: int, seed: int, part: str) -> VideoFeatures:
    """Features that have nothing to do with the three classes."""
    rng = np.random.default_rng(seed)
    return features(rng.standard_normal((videos, 2, 8)), [f"c{n}" for n in rng.integers(0, 3, videos)], part=part)


def slow_votes(train: np.ndarray, labels: list[str], test: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """A double loop; of equally near videos the first of the list votes."""
    rows = []
    for q in test.astype(np.float64):
        near = []
        for n, g in enumerate(train.astype(np.float64)):
            near.append((-float(np.float32(q @ g / np.linalg.norm(q) / np.linalg.norm(g))), n))
        votes = Counter[str]()
        for minus_cosine, n in sorted(near)[:k]:
            votes[labels[n]] += math.exp(-minus_cosine / temperature)
        rows.append([votes[c] / sum(votes.values()) for c in CLASSES])
    return np.array(rows)


@pytest.mark.parametrize("k", [1, 4, 50])
@pytest.mark.parametrize("ties", [False, True])
def test_votes_agree_with_a_double_loop(k: int, ties: bool) -> None:
    rng = np.random.default_rng(k)
    train, test = rng.standard_normal((31, 5)).astype(np.float32), rng.standard_normal((17, 5)).astype(np.float32)
    if ties:
        train, test = (
            np.eye(5, dtype=np.float32)[rng.integers(0, 4, 31)] * 3,
            np.eye(5, dtype=np.float32)[rng.integers(0, 4, 17)],
        )
    labels = [CLASSES[c] for c in rng.integers(0, 3, 31)]
    got = predict_knn(train, labels, test, k, 0.07, CLASSES)
    np.testing.assert_allclose(got, slow_votes(train, labels, test, k, 0.07), atol=1e-9)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_votes_agree_with_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    train, test = rng.standard_normal((60, 6)), rng.standard_normal((25, 6))
    labels = [CLASSES[c] for c in rng.integers(0, 3, 60)]
    model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=lambda far: np.exp((1 - far) / 0.07))
    expected = model.fit(train, labels).predict_proba(test)
    np.testing.assert_allclose(predict_knn(train, labels, test, k, 0.07, CLASSES), expected, atol=1e-5)


def test_a_small_temperature_follows_the_nearest_and_does_not_overflow() -> None:
    train, test = np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3]]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    got = predict_knn(train, ["a", "b", "b"], test, 3, 1e-6, CLASSES)
    np.testing.assert_allclose(got, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(predict_knn(train, ["a", "b", "b"], test, 3, 1e6, CLASSES)[:, 1], 2 / 3, atol=1e-5)


def test_what_can_not_vote_is_refused() -> None:
    one = np.ones((1, 2))
    with pytest.raises(InputError, match="known classes"):
        predict_knn(one, ["other"], one, 1, 0.07, CLASSES)
    with pytest.raises(InputError, match="0 and 1"):
        predict_knn(one[:0], [], one, 1, 0.07, CLASSES)
    with pytest.raises(InputError, match="temperature"):
        KnnProtocol(temperature=0)
    with pytest.raises(InputError, match="unknown layer"):
        KnnProtocol(layer="conv6")


def test_rows_and_columns_of_a_separable_toy() -> None:
    result = evaluate_knn(toy(48, 0.1, 0), toy(24, 0.1, 1, "test"), KnnProtocol(ks=(1, 5)))
    assert list(result.rows) == [CHANCE, MAJORITY_CLASS, MEAN_FRAME, "rgb", "residual", JOINT]
    assert result.rows[JOINT] == {"top-1, k=1": 100.0, "top-1, k=5": 100.0, MEAN_CLASS_ACCURACY: 100.0}
    assert result.rows[MEAN_FRAME]["top-1, k=1"] < 100
    assert result.intervals[JOINT]["top-1, k=1"] == (100.0, 100.0)
    assert set(result.floors) == {CHANCE, MAJORITY_CLASS, MEAN_FRAME} and not result.warnings
    data = json.loads(json.dumps(result.to_json()))
    assert Result.from_json(data).rows == result.rows and data["protocol"]["ks"] == [1, 5]
    assert result.protocol["held_out"] > 0 and "48 training videos" in result.caption


def test_figures_agree_with_the_votes() -> None:
    train, test = toy(48, 4.0, 0), toy(60, 4.0, 1, "test")
    result = evaluate_knn(train, test, KnnProtocol(ks=(1, 3, 9)))
    for view in ("rgb", "residual"):
        for k in (1, 3, 9):
            votes = predict_knn(
                train.get_view(POOLED, view), train.labels, test.get_view(POOLED, view), k, 0.07, ["c0", "c1", "c2"]
            )
            right = votes.argmax(axis=1) == [int(label[1]) for label in test.labels]
            assert result.rows[view][f"top-1, k={k}"] == pytest.approx(100 * right.mean())
            if k == result.protocol["chosen_k"][view]:
                by_class = [right[np.array(test.labels) == c].mean() for c in ("c0", "c1", "c2")]
                assert result.rows[view][MEAN_CLASS_ACCURACY] == pytest.approx(100 * np.mean(by_class))
    low, high = result.intervals["rgb"]["top-1, k=1"]
    assert low < result.rows["rgb"]["top-1, k=1"] < high


def test_k_is_chosen_on_held_out_training_videos_alone() -> None:
    train, test = toy(60, 4.0, 3), toy(24, 4.0, 4, "test")
    protocol = KnnProtocol(ks=(1, 3, 9, 15))
    held = grid_search.hold_out_groups(train.instances, protocol.validation_share, protocol.seed)
    assert held is not None
    assert not {i.group for i, h in zip(train.instances, held, strict=True) if h} & {
        i.group for i, h in zip(train.instances, held, strict=True) if not h
    }
    fit, asked, names = train.select_videos(~held), train.select_videos(held), ["c0", "c1", "c2"]
    for name, columns in train.columns[POOLED].items():
        accuracy = {}
        for k in protocol.ks:
            votes = predict_knn(
                fit.vectors[POOLED][:, columns], fit.labels, asked.vectors[POOLED][:, columns], k, 0.07, names
            )
            accuracy[k] = np.mean(np.array(names)[votes.argmax(axis=1)] == asked.labels)
        expected = next(k for k in protocol.ks if accuracy[k] == max(accuracy.values()))
        assert evaluate_knn(train, test, protocol).protocol["chosen_k"][name] == expected
    poisoned = features(np.full((24, 3, 8), 1e6), test.labels, part="test")
    assert (
        evaluate_knn(train, poisoned, protocol).protocol["chosen_k"]
        == evaluate_knn(train, test, protocol).protocol["chosen_k"]
    )


def test_unrelated_labels_stay_near_chance() -> None:
    result = evaluate_knn(noise_only(150, 0, "train"), noise_only(300, 1, "test"))
    for k in (1, 5, 10, 20):
        assert abs(result.rows[JOINT][f"top-1, k={k}"] - 100 / 3) < 10  # sd 2.7, and that of the training labels


def test_collapsed_features_are_not_rewarded() -> None:
    labels = [f"c{n // 10}" for n in range(30)]
    one, other = features(np.ones((30, 1, 4)), labels), features(np.ones((30, 1, 4)), labels, part="test")
    result = evaluate_knn(one, other, KnnProtocol(ks=(1, 5)))
    assert result.rows[JOINT]["top-1, k=5"] == pytest.approx(100 / 3)


def test_a_class_that_only_the_test_has_is_wrong() -> None:
    train, test = toy(48, 0.1, 0), toy(24, 0.1, 1, "test")
    lost = features(
        test.clip_vectors[POOLED], ["new" if n % 4 == 0 else la for n, la in enumerate(test.labels)], part="test"
    )
    result = evaluate_knn(train, lost, KnnProtocol(ks=(1,)))
    assert result.rows[JOINT] == {"top-1, k=1": 75.0, MEAN_CLASS_ACCURACY: 75.0}
    assert result.rows[CHANCE]["top-1, k=1"] == pytest.approx(25)
    assert any("6 test videos count as wrong" in said and "(new)" in said for said in result.warnings)


def test_what_can_not_be_judged_is_refused_or_said() -> None:
    train, test = toy(48, 0.1, 0), toy(24, 0.1, 1, "test")
    with pytest.raises(InputError, match=r"got 1 \(c0\)"):
        evaluate_knn(train.select_videos(np.array(train.labels) == "c0"), test)
    with pytest.raises(InputError, match="0 test videos"):
        evaluate_knn(train, test.select_videos(np.zeros(24, bool)))
    with pytest.raises(InputError, match="no features of layer 'conv5'"):
        evaluate_knn(train, test, KnnProtocol(layer="conv5"))
    few = train.select_videos(np.array([0, 1, 4, 5]))  # one group of each of two classes
    said = evaluate_knn(few, test, KnnProtocol(ks=(1, 5))).warnings
    assert any("k=1 was fixed" in s for s in said) and any("k=5: there are 4 training videos only" in s for s in said)


def test_guesses_agree_with_simulation() -> None:
    train = features(np.zeros((20, 1, 2)), ["a"] * 3 + ["b"] * 10 + ["c"] * 7)
    test = features(np.zeros((11, 1, 2)), ["a"] * 5 + ["b"] * 3 + ["c"] + ["new"] * 2, part="test")
    rows = compute_guess_rows(train.labels, test.labels, {"top-1": 1, "top-2": 2, "top-5": 5})
    rng, hits = np.random.default_rng(0), Counter[int]()
    for _ in range(2000):
        order = rng.permutation(["a", "b", "c"])
        for top in (1, 2, 5):
            hits[top] += int(np.isin(test.labels, order[:top]).sum())
    for top in (1, 2, 5):
        assert abs(rows[CHANCE][f"top-{top}"] - 100 * hits[top] / 2000 / 11) < 2
    assert rows[MAJORITY_CLASS] == pytest.approx(
        {"top-1": 300 / 11, "top-2": 400 / 11, "top-5": 900 / 11, MEAN_CLASS_ACCURACY: 25.0}
    )
    assert rows[CHANCE][MEAN_CLASS_ACCURACY] == pytest.approx(25.0)


def test_two_runs_are_equal_to_the_last_digit() -> None:
    runs = [evaluate_knn(toy(48, 4.0, 0), toy(24, 4.0, 1, "test")).to_json() for _ in range(2)]
    assert json.dumps(runs[0]) == json.dumps(runs[1])
