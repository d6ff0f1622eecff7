"""The linear probe against torch.optim.SGD, scikit-learn and sums by hand; nothing of the test reaches training."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from test_knn import POOLED, features, noise_only, toy
from torch.nn import functional as F

from unreel.errors import InputError
from unreel.evaluation.baselines.chance import CHANCE, MAJORITY_CLASS
from unreel.evaluation.baselines.trivial_baselines import MEAN_FRAME
from unreel.evaluation.metrics.accuracy import MEAN_CLASS_ACCURACY, encode_labels
from unreel.evaluation.probes import grid_search
from unreel.evaluation.probes.grid_search import GridSearch, Hyperparameters, run_grid_search
from unreel.evaluation.probes.parallel_linear import (
    ParallelLinear,
    average_linear_softmax,
    fit_logistic_layers,
    fit_scaler,
    train_parallel_linear,
)
from unreel.evaluation.probes.sample_batches import SampleBatches
from unreel.evaluation.protocols.linear_probe import LinearProtocol, build_linear_scorer, choose_kind, evaluate_linear
from unreel.evaluation.video_features import JOINT
from unreel.settings.optimisation import OptimisationSettings
from unreel.training.lr_schedule import compute_lr
from unreel.video.sampling.batch_sampler import permute_epoch

GRID: list[Hyperparameters] = [{"lr": lr, "weight_decay": decay} for lr in (0.1, 1.0, 5.0) for decay in (0.0, 1e-2)]
QUICK = LinearProtocol(epochs=20, lrs=(1.0, 10.0), weight_decays=(0.0,), cs=(1.0, 100.0))


def samples(count: int, dims: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((count, dims))), torch.from_numpy(rng.integers(0, classes, count))


def slow_sgd(
    x: torch.Tensor, y: torch.Tensor, classes: int, point: Hyperparameters, epochs: int, size: int, seed: int
) -> torch.nn.Linear:
    """One layer alone, by torch's own SGD and autograd."""
    layer = torch.nn.Linear(x.shape[1], classes, dtype=x.dtype)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.9, weight_decay=point["weight_decay"])
    parts, step = math.ceil(len(x) / size), 0
    for epoch in range(epochs):
        for rows in np.array_split(permute_epoch(seed, epoch, len(x)), parts):
            settings = OptimisationSettings(lr=point["lr"], schedule="cosine", warmup=0.05)
            optimizer.param_groups[0]["lr"] = compute_lr(step, epochs * parts, settings)
            optimizer.zero_grad()
            F.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()
            step += 1
    return layer


def test_the_batched_grid_equals_each_point_alone() -> None:
    x, y = samples(50, 7, 4)
    layers = train_parallel_linear(x, y, 4, GRID, epochs=8, batches=SampleBatches(16, seed=3))
    for g, point in enumerate(GRID):
        alone = slow_sgd(x, y, 4, point, epochs=8, size=16, seed=3)
        torch.testing.assert_close(layers.weights_DGC[:, g].T, alone.weight.detach(), rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(layers.biases_GC[g], alone.bias.detach(), rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(
            layers.predict_probabilities(x)[:, g], alone(x).softmax(1).detach(), rtol=1e-9, atol=1e-11
        )


def test_every_sample_is_seen_once_an_epoch() -> None:
    batches = SampleBatches(batch_size=10, seed=0)
    found = list(batches.iterate_batches(23, num_epochs=2))
    assert [len(rows) for rows in found] == [8, 8, 7] * 2 and batches.count_batches(23) == 3
    first, second = torch.cat(found[:3]).tolist(), torch.cat(found[3:]).tolist()
    assert sorted(first) == sorted(second) == list(range(23)) and first != second
    assert [len(rows) for rows in SampleBatches(100, 0).iterate_batches(23, 1)] == [23]


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_layers_agree_with_scikit_learn(classes: int) -> None:
    x, y = samples(60, 5, classes, seed=1)
    layers = fit_logistic_layers(x.float(), y, classes + 1, [{"C": 0.1}, {"C": 10.0}])
    for g, c in enumerate((0.1, 10.0)):
        expected = LogisticRegression(C=c, max_iter=1000).fit(x.float().double().numpy(), y).predict_proba(x)
        got = layers.predict_probabilities(x.float())[:, g]
        np.testing.assert_allclose(got[:, :classes], expected, atol=1e-5)
        assert (got[:, classes] == 0).all()  # a class without samples


def test_a_video_gets_the_mean_softmax_over_its_clips() -> None:
    weights = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]]])  # two numbers, two layers, two classes
    asked = np.array([[[1.0, 0.0], [0.0, 1.0]], [[3.0, 0.0], [3.0, 0.0]]], np.float32)
    prepare = fit_scaler(asked.reshape(-1, 2), normalize=False, standardize=False)
    got = average_linear_softmax(ParallelLinear(weights, torch.zeros(2, 2)), prepare, asked)
    first = (math.e / (math.e + 1) + 1 / (1 + math.e**2)) / 2
    np.testing.assert_allclose(got[0, :, 0], [first, math.e**3 / (math.e**3 + 1)], rtol=1e-6)
    np.testing.assert_allclose(got[1], 0.5)
    one_by_one = [
        average_linear_softmax(ParallelLinear(weights, torch.zeros(2, 2)), prepare, asked[q : q + 1])[:, 0]
        for q in range(2)
    ]
    np.testing.assert_array_equal(got, np.stack(one_by_one, axis=1))


@pytest.mark.parametrize("normalize", [False, True])
def test_statistics_are_those_of_the_training_clips(normalize: bool) -> None:
    rng = np.random.default_rng(0)
    train, other = rng.standard_normal((40, 6)) * 3 + 1, rng.standard_normal((5, 6)) * 100
    train[:, 2] = 0 if normalize else 0.1  # never changes
    prepare = fit_scaler(train, normalize)
    t, o = train.astype(np.float32).astype(np.float64), other.astype(np.float32).astype(np.float64)
    if normalize:
        t, o = t / np.linalg.norm(t, axis=1, keepdims=True), o / np.linalg.norm(o, axis=1, keepdims=True)
    scale = t.std(axis=0) * math.sqrt(6)
    scale[2] = np.inf
    np.testing.assert_allclose(prepare(train), (t - t.mean(axis=0)) / scale, atol=1e-5)
    np.testing.assert_allclose(prepare(other), (o - t.mean(axis=0)) / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "logistic", "cvrl"])
def test_test_videos_do_not_reach_the_layer(kind: str) -> None:
    train, test = toy(36, 3.0, 0), toy(12, 3.0, 1, "test")
    class_N = np.array([int(label[1]) for label in train.labels])
    score = build_linear_scorer(QUICK, kind, 3)
    asked = test.clip_vectors[POOLED]
    poison = np.concatenate([asked, np.full_like(asked, 1e6)])
    grid = QUICK.list_grid(kind)
    np.testing.assert_array_equal(
        score(train.clip_vectors[POOLED], class_N, asked, grid),
        score(train.clip_vectors[POOLED], class_N, poison, grid)[:, :12],
    )


def test_cvrl_is_one_layer_on_unit_vectors_with_the_scaled_rate() -> None:
    train, test = toy(36, 3.0, 0), toy(12, 3.0, 1, "test")
    class_N = np.array([int(label[1]) for label in train.labels])
    protocol = LinearProtocol(kind="cvrl", epochs=20)
    got = build_linear_scorer(protocol, "cvrl", 3)(
        train.clip_vectors[POOLED], class_N, test.clip_vectors[POOLED], protocol.list_grid("cvrl")
    )
    x = F.normalize(torch.from_numpy(train.clip_vectors[POOLED]).double().flatten(0, 1), dim=1)
    point = {"lr": 32 * 108 / 1024, "weight_decay": 0.0}
    layer = slow_sgd(x, torch.from_numpy(class_N).repeat_interleave(3), 3, point, epochs=20, size=1024, seed=0)
    asked = F.normalize(torch.from_numpy(test.clip_vectors[POOLED]).double(), dim=2)
    np.testing.assert_allclose(got[0], layer(asked).softmax(dim=2).mean(dim=1).detach(), atol=1e-5)


class Recorder:
    """A scorer that keeps what it was given (the first number of a video says who it is) and likes one point."""

    def __init__(self, best_lr: float) -> None:
        self.calls: list[tuple[list[int], list[int], list[Hyperparameters]]] = []
        self.best_lr = best_lr

    def __call__(
        self, train: np.ndarray, class_N: np.ndarray, asked: np.ndarray, grid: Sequence[Hyperparameters]
    ) -> np.ndarray:
        who = [int(v) for v in asked[:, 0, 0]]
        self.calls.append(([int(v) for v in train[:, 0, 0]], who, list(grid)))
        right, wrong = np.eye(2)[np.array(who) % 2], np.eye(2)[(np.array(who) + 1) % 2]
        return np.stack([right if point["lr"] == self.best_lr else wrong for point in grid])


@pytest.mark.parametrize("seed", [0, 1])
def test_values_are_chosen_on_whole_groups_and_then_all_videos_train(seed: int) -> None:
    numbers = np.arange(40.0)[:, None, None].repeat(2, axis=2)
    labels, groups = [f"c{n % 2}" for n in range(40)], [f"g{n % 10}" for n in range(40)]
    train, test = features(numbers, labels, groups), features(numbers + 1000, labels, part="test")
    held = grid_search.hold_out_groups(train.instances, 0.2, seed)
    assert held is not None and set(np.array(groups)[held]).isdisjoint(np.array(groups)[~held])
    grid: list[Hyperparameters] = [{"lr": 1.0}, {"lr": 2.0}, {"lr": 3.0}]
    recorder = Recorder(best_lr=1.0 + 2 * seed)
    rows = {JOINT: train.list_table_rows("pooled")[JOINT]}
    result = run_grid_search(train, test, rows, GridSearch("linear", "", "", recorder, grid, 0.2, seed))
    (fit, asked, points), final = recorder.calls
    assert sorted(fit + asked) == list(range(40)) and asked == np.flatnonzero(held).tolist() and points == grid
    assert final == (list(range(40)), list(range(1000, 1040)), [{"lr": 1.0 + 2 * seed}])
    assert result.protocol["chosen"] == {JOINT: {"lr": 1.0 + 2 * seed}} and result.rows[JOINT]["top-1"] == 100


def test_the_best_point_is_the_most_accurate_then_the_surest() -> None:
    train = toy(24, 0.1, 0).select_videos(np.array([n for n in range(24) if n // 4 % 3 < 2]))
    held, class_N = grid_search.hold_out_groups(train.instances, 0.2, 0), encode_labels(train.labels, ["c0", "c1"])
    assert held is not None
    truth = class_N[held]
    sure = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
    unsure, wrong = np.where(truth[:, None] == np.arange(2), 0.6, 0.4), sure[:, ::-1]
    scores = np.stack([wrong, unsure, sure, sure])
    search = GridSearch("linear", "", "", lambda *_: scores, [{"C": c} for c in (1.0, 2.0, 3.0, 4.0)], 0.2, 0)
    assert grid_search.choose_hyperparameters(train.clip_vectors[POOLED], class_N, held, search) == {"C": 3.0}
    assert grid_search.choose_hyperparameters(train.clip_vectors[POOLED], class_N, None, search) == {
        "C": 3.0
    }  # the middle, upper of an even number


@pytest.mark.parametrize("kind", ["sgd", "logistic", "cvrl"])
def test_a_separable_toy_is_separated(kind: str) -> None:
    protocol = LinearProtocol(kind=kind, epochs=30, lrs=(1.0, 10.0), weight_decays=(0.0,), cs=(1.0, 100.0))
    train, test = toy(48, 0.3, 0), toy(24, 0.3, 1, "test")
    if kind == "cvrl":  # its rate is meant for batches of a thousand
        train = features(train.clip_vectors[POOLED].repeat(8, axis=1), train.labels, train.groups)
    result = evaluate_linear(train, test, protocol)
    assert list(result.rows) == [CHANCE, MAJORITY_CLASS, MEAN_FRAME, "rgb", "residual", JOINT]
    assert result.rows[JOINT] == {"top-1": 100.0, "top-5": 100.0, MEAN_CLASS_ACCURACY: 100.0}
    assert result.rows["rgb"]["top-1"] > 90 > result.rows[MEAN_FRAME]["top-1"]
    assert result.extras["confusion"] == {"classes": ["c0", "c1", "c2"], "counts": np.diag([8, 8, 8]).tolist()}
    assert result.protocol["kind"] == kind and result.protocol["numbers"][JOINT] == 8
    assert any("top-5 says nothing: there are only 3 classes" in said for said in result.warnings)
    json.dumps(result.to_json())


def test_unrelated_labels_stay_near_chance() -> None:
    for kind in ("sgd", "logistic"):
        protocol = LinearProtocol(kind=kind, epochs=20, lrs=(1.0, 10.0), weight_decays=(0.0,), cs=(1.0,))
        result = evaluate_linear(noise_only(120, 0, "train"), noise_only(300, 1, "test"), protocol)
        assert abs(result.rows[JOINT]["top-1"] - 100 / 3) < 10  # sd 2.7, and that of the training labels


def test_single_clips_train_and_judge() -> None:
    """The encoder by every clip of a video, a floor whose clips were not kept by the mean over them."""
    rng = np.random.default_rng(0)
    clips = np.repeat(rng.standard_normal((60, 1, 4)), 2, axis=1) * 0.1
    class_N = np.arange(60) % 2
    clips[:, :, 0] += np.where(class_N == 1, 2.0, -2.0)[:, None]
    train, labels = features(clips[:40], [f"c{c}" for c in class_N[:40]]), [f"c{c}" for c in class_N[40:]]
    test = features(clips[40:], labels, part="test")
    seen: list[tuple[int, ...]] = []

    def scorer(fit: np.ndarray, class_N: np.ndarray, asked: np.ndarray, grid: Sequence[Hyperparameters]) -> np.ndarray:
        seen.append((*fit.shape, *asked.shape))
        return np.full((len(grid), len(asked), 2), 0.5)

    result = run_grid_search(
        train, test, train.list_table_rows("pooled"), GridSearch("linear", "", "", scorer, [{"C": 1.0}], 0.2, 0)
    )
    assert seen == [(40, 1, 1, 20, 1, 1), (40, 2, 2, 20, 2, 2), (40, 2, 2, 20, 2, 2), (40, 2, 4, 20, 2, 4)]
    assert result.protocol["train_clips"] == result.protocol["test_clips"] == 2
    assert evaluate_linear(train, test, QUICK).rows[JOINT]["top-1"] == 100


def test_a_class_that_only_the_test_has_is_wrong() -> None:
    train, test = toy(48, 0.3, 0), toy(24, 0.3, 1, "test")
    lost = features(
        test.clip_vectors[POOLED], ["new" if n % 4 == 0 else la for n, la in enumerate(test.labels)], part="test"
    )
    result = evaluate_linear(train, lost, QUICK)
    assert result.rows[JOINT] == {"top-1": 75.0, "top-5": 75.0, MEAN_CLASS_ACCURACY: 75.0}
    confusion = result.extras["confusion"]
    assert confusion["classes"] == ["c0", "c1", "c2", "new"] and confusion["counts"][3] == [2, 2, 2, 0]
    assert any("6 test videos count as wrong" in said for said in result.warnings)


def test_what_can_not_be_done_is_refused_or_said() -> None:
    train, test = toy(48, 0.3, 0), toy(24, 0.3, 1, "test")
    with pytest.raises(InputError, match=r"got 1 \(c0\)"):
        evaluate_linear(train.select_videos(np.array(train.labels) == "c0"), test)
    with pytest.raises(InputError, match="Known: auto, cvrl, logistic, sgd"):
        LinearProtocol(kind="svm")
    with pytest.raises(InputError, match="or more"):
        LinearProtocol(lrs=())
    few = train.select_videos(np.array([0, 1, 4, 5]))  # one group of each of two classes
    result = evaluate_linear(few, test, LinearProtocol(kind="sgd", epochs=5))
    assert result.protocol["chosen"][JOINT] == {"lr": 15.0, "weight_decay": 3e-4} and result.protocol["held_out"] == 0
    assert any("lr 15, weight decay 0.0003 was fixed" in said for said in result.warnings)


def test_borders_of_the_grid_are_said() -> None:
    grid = [{"lr": lr, "weight_decay": decay} for lr in (1.0, 2.0, 3.0) for decay in (0.0, 0.1, 0.2)]
    chosen = {"rgb": grid[0], JOINT: {"lr": 3.0, "weight_decay": 0.2}, "residual": {"lr": 2.0, "weight_decay": 0.2}}
    assert grid_search.warn_at_borders(chosen, grid) == [
        "The smallest lr of the grid, 1, was chosen for rgb; widen the grid.",
        "The largest lr of the grid, 3, was chosen for joint; widen the grid.",
        "The largest weight decay of the grid, 0.2, was chosen for joint, residual; widen the grid.",
    ]
    assert grid_search.warn_at_borders({"rgb": {"C": 1.0}}, [{"C": 1.0}]) == []


def test_auto_takes_what_takes_seconds() -> None:
    assert choose_kind([(100, 10, 64), (100, 1, 3072)]) == "logistic"
    assert choose_kind([(201, 10, 4)]) == "sgd"  # many clips
    assert choose_kind([(100, 10, 64), (100, 10, 9216)]) == "logistic"  # another encoder, the same kind
    assert evaluate_linear(toy(48, 0.3, 0), toy(24, 0.3, 1, "test"), QUICK).protocol["kind"] == "logistic"


def test_two_runs_are_equal_to_the_last_digit() -> None:
    for kind in ("sgd", "logistic"):
        protocol = LinearProtocol(kind=kind, epochs=5)
        runs = [evaluate_linear(toy(24, 3.0, 0), toy(12, 3.0, 1, "test"), protocol).to_json() for _ in range(2)]
        assert json.dumps(runs[0]) == json.dumps(runs[1])
