"""Temporal evidence on features whose motion and looks are known, and its formulas against explicit loops."""

import json
from itertools import pairwise

import numpy as np
import pytest
from evaluations import recall_at_k
from scipy.optimize import minimize
from scipy.special import logsumexp

from unreel.errors import InputError
from unreel.evaluation.baselines import trivial_baselines
from unreel.evaluation.baselines.chance import compute_chance_recall
from unreel.evaluation.baselines.trivial_baselines import MEAN_FRAME
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.metrics.bootstrap import sample_counts
from unreel.evaluation.metrics.motion_reliance import (
    Reliance,
    compute_draw_chance,
    compute_probe_chance,
    compute_ratios,
    compute_reliance,
    compute_variance_ratio,
)
from unreel.evaluation.probes.logistic_regression import fit_linear_probe
from unreel.evaluation.protocols.motion import (
    MotionProtocol,
    build_perturbed_extractor,
    compose_reliance_sentence,
    compose_sentences,
    evaluate_motion,
    group_keys,
)
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, INTACT, JOINT, FeatureKey, VideoFeatures
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.perturb import PERTURBATIONS
from unreel.views.view_spec import ViewSpec

CLASSES = 4


def videos(part: str, count: int, groups: bool = False) -> list[Instance]:
    return [
        Instance(f"{part}/{n}.avi", n, 0.0, 1.0, f"c{n % CLASSES}", f"{part} g{n // 8}" if groups else "")
        for n in range(count)
    ]


def features_of(part: str, count: int, looks: float, motion: float, seed: int, groups: bool = False) -> VideoFeatures:
    """A view of looks and one of motion: frozen clips keep what looks tell of the class, residuals what motion does."""
    rng, instances = np.random.default_rng(seed), videos(part, count, groups)
    class_ND = np.eye(CLASSES)[[n % CLASSES for n in range(count)]]
    found = VideoFeatures(instances, spans_s=np.zeros((count, 3, 2)))
    for who, gain in ((UNTRAINED_ENCODER, 0.0), (ENCODER, 1.0)):
        for condition in (INTACT, *PERTURBATIONS):
            block = FeatureKey(who, "pooled", condition)
            seen = {"rgb": looks * (condition != "residual"), "residual": motion * (condition not in ("frozen",))}
            parts = [gain * g * class_ND + 0.1 * rng.standard_normal((count, CLASSES)) for g in seen.values()]
            found.vectors[block] = np.concatenate(parts, axis=1).astype(np.float32)
            found.columns[block] = {"rgb": slice(0, CLASSES), "residual": slice(CLASSES, 2 * CLASSES)}
    kept = FeatureKey(ENCODER, "pooled")
    found.clip_vectors[kept] = found.vectors[kept][:, None] + 0.05 * rng.standard_normal((count, 3, 8)).astype(
        np.float32
    )
    return found


def result_of(looks: float, motion: float, protocol: MotionProtocol | None = None) -> Result:
    return evaluate_motion(
        features_of("train", 48, looks, motion, 0), features_of("test", 64, looks, motion, 1), protocol
    )


def test_reliance_of_what_sees_looks_only_and_motion_only() -> None:
    looks = result_of(1.0, 0.0).extras["reliance"][ENCODER]
    motion = result_of(0.0, 1.0).extras["reliance"][ENCODER]
    for score in ("R@1", "probe"):
        assert abs(looks["motion"][score]["share"]) < 5 and abs(looks["order"][score]["share"]) < 5
        assert motion["motion"][score]["share"] > 70 and abs(motion["order"][score]["share"]) < 5
        found = motion["motion"][score]
        assert found["low"] <= found["share"] <= found["high"] and found["low"] > 40


def test_rows_columns_and_chance() -> None:
    result = result_of(1.0, 1.0)
    conditions = (INTACT, *PERTURBATIONS)
    assert list(result.rows) == [f"{who}, {c}" for who in (ENCODER, UNTRAINED_ENCODER) for c in conditions] + ["chance"]
    assert result.columns == ["R@1 both", "R@1 query only", "probe both", "probe query only"]
    for who in (ENCODER, UNTRAINED_ENCODER):
        intact = result.rows[f"{who}, intact"]
        assert intact["R@1 both"] == intact["R@1 query only"] and intact["probe both"] == intact["probe query only"]
    assert result.rows["chance"] == dict.fromkeys(result.columns, 25.0)
    assert set(result.floors) == set(result.rows) - {f"{ENCODER}, {c}" for c in conditions}
    assert set(result.intervals) == set(result.rows) - {"chance"}
    for row, cells in result.intervals.items():
        assert list(cells) == ["R@1 both", "probe both"]
        assert all(low <= result.rows[row][name] <= high for name, (low, high) in cells.items())
    result.to_table()


def test_both_and_query_only_are_what_they_say() -> None:
    train, test = features_of("train", 40, 0.15, 0.1, 0), features_of("test", 48, 0.15, 0.1, 1)
    rows, labels = evaluate_motion(train, test).rows, (test.labels, train.labels)
    intact = FeatureKey(ENCODER, "pooled")
    for condition in PERTURBATIONS:
        block = FeatureKey(ENCODER, "pooled", condition)
        row = rows[f"{ENCODER}, {condition}"]
        query = test.vectors[block]
        assert row["R@1 both"] == pytest.approx(recall_at_k(query, train.vectors[block], *labels, [1])[1])
        assert row["R@1 query only"] == pytest.approx(recall_at_k(query, train.vectors[intact], *labels, [1])[1])
        for how, at in (("both", block), ("query only", intact)):
            named = fit_linear_probe(train.vectors[at], train.labels, 10.0)(query)
            assert row[f"probe {how}"] == pytest.approx(100 * np.mean(named == np.array(test.labels)))


def test_undefined_without_anything_above_chance() -> None:
    result = result_of(0.0, 0.0)
    found = result.extras["reliance"][ENCODER]["motion"]["R@1"]
    assert found["share"] is None and found["low"] is None and "not above chance" in found["why"]
    assert result.extras["said"][0].startswith("How much of R@1 relies on motion is not defined: intact clips")


def test_a_result_is_plain_json_and_the_same_twice() -> None:
    result = result_of(0.5, 0.2)
    first, second = (json.dumps(r.to_json(), allow_nan=False) for r in (result, result_of(0.5, 0.2)))
    assert first == second
    assert Result.from_json(json.loads(first)).rows == result.rows


def test_groups_are_drawn_whole() -> None:
    train, test = features_of("train", 48, 0.2, 0.2, 0), features_of("test", 64, 0.2, 0.2, 1, groups=True)
    protocol = MotionProtocol(seed=3, draws=200)
    alone = evaluate_motion(train, features_of("test", 64, 0.2, 0.2, 1), protocol).intervals
    grouped = evaluate_motion(train, test, protocol).intervals
    assert alone != grouped


def test_the_layer_that_is_asked_for_or_the_one_there_is() -> None:
    train, test = features_of("train", 8, 1, 1, 0), features_of("test", 8, 1, 1, 1)
    for part in (train, test):
        for condition in (INTACT, "frozen"):
            for block in (
                FeatureKey(ENCODER, "conv5", condition),
                FeatureKey(MEAN_FRAME, "pixels", condition),
            ):
                part.vectors[block] = part.vectors[FeatureKey(ENCODER, "pooled", condition)]
                part.columns[block] = {"rgb": slice(None)}
        part.vectors[FeatureKey("never tampered", "pooled")] = part.vectors[FeatureKey(ENCODER, "pooled")]
    blocks = group_keys(train, test, "conv5")
    assert list(blocks) == [ENCODER, UNTRAINED_ENCODER, MEAN_FRAME]
    assert blocks[ENCODER] == {c: FeatureKey(ENCODER, "conv5", c) for c in (INTACT, "frozen")}
    assert blocks[MEAN_FRAME][INTACT].layer == "pixels" and blocks[UNTRAINED_ENCODER][INTACT].layer == "pooled"
    rows = evaluate_motion(train, test, MotionProtocol("conv5")).rows
    assert f"{ENCODER}, shuffled" not in rows and f"{UNTRAINED_ENCODER}, shuffled" in rows


def test_without_tampered_features() -> None:
    train, test = (VideoFeatures(videos(part, 8)) for part in ("train", "test"))
    for part in (train, test):
        part.vectors[FeatureKey(ENCODER, "pooled")] = np.ones((8, 2), np.float32)
    with pytest.raises(InputError, match="no features of perturbed clips"):
        evaluate_motion(train, test)
    with pytest.raises(InputError, match="the test list is empty"):
        evaluate_motion(train, VideoFeatures([]))


# Clips: what sees looks and what sees motion, for real


def blobs(label: int, number: int, bright: bool, clips: int = 2, frames: int = 9, size: int = 24) -> np.ndarray:
    """A blob on noise that glides one of four ways; its class is how it glides, or (`bright`) what it looks like."""
    rng = np.random.default_rng(1000 * label + number)
    step = [(0, 2), (0, -2), (2, 0), (-2, 0)][label if not bright else number % 4]
    y, x = np.mgrid[:size, :size]
    made = np.empty((clips, frames, size, size, 3), np.uint8)
    for clip in range(clips):
        place = rng.integers(0, size, 2)
        for t in range(frames):
            dy, dx = ((g - p - s * t + size / 2) % size - size / 2 for g, p, s in zip((y, x), place, step, strict=True))
            blob = np.exp(-(dy**2 + dx**2) / 18)[..., None]
            ground = np.array([30, 60 + 30 * label, 180 - 30 * label]) if bright else np.array([60, 60, 60])
            made[clip, t] = ground + 60 * blob + rng.integers(0, 3, (size, size, 3))
    return made


def direction(clips: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
    """How well each frame is the one before it, moved one of four ways: nothing but motion, and its direction."""
    light = clips.astype(np.float64).sum(axis=-1)
    light -= light.mean(axis=(2, 3), keepdims=True)
    moves = [(2, 0, 2), (2, 0, -2), (2, 2, 0), (2, -2, 0)]
    scores = [
        sum((a * np.roll(b, (dy, dx), (1, 2))).mean((1, 2)) for b, a in pairwise(light.swapaxes(0, 1)))
        for _, dy, dx in moves
    ]
    found = np.stack(scores, axis=1)
    return {FeatureKey(ENCODER, "pooled"): {"rgb": (found - found.mean(1, keepdims=True)).astype(np.float32)}}


def looked_at(source: FeatureExtractor, part: str, count: int, bright: bool) -> VideoFeatures:
    found = VideoFeatures(videos(part, count), spans_s=np.zeros((count, 2, 2)))
    rows: dict[FeatureKey, list[np.ndarray]] = {}
    for n in range(count):
        clips = blobs(n % CLASSES, n // CLASSES + (1000 if part == "test" else 0), bright)
        for block, views in source(clips, n).items():
            rows.setdefault(block, []).append(np.concatenate(list(views.values()), axis=1).mean(axis=0))
            found.columns[block] = {name: slice(None) for name in views}
    found.vectors = {block: np.stack(vectors).astype(np.float32) for block, vectors in rows.items()}
    return found


def motion_of(source: FeatureExtractor, bright: bool) -> dict[str, dict[str, dict[str, float]]]:
    looks = build_perturbed_extractor(source, list(PERTURBATIONS), lead_in=1)
    result = evaluate_motion(looked_at(looks, "train", 24, bright), looked_at(looks, "test", 24, bright))
    (found,) = result.extras["reliance"].values()
    return found


def test_pixels_of_coloured_grounds_need_no_motion() -> None:
    spec = EncoderSpec("tiny", clip=ClipSpec(num_frames=8, lead_in=1), views=ViewSpec(size=24))
    found = motion_of(trivial_baselines.build_mean_frame_extractor(spec), bright=True)
    assert found["motion"]["R@1"]["share"] == pytest.approx(0, abs=10)
    assert found["order"]["R@1"]["share"] == 0 and found["order"]["probe"]["share"] == 0  # a mean has no order


def test_a_sense_of_direction_is_nothing_but_motion() -> None:
    found = motion_of(direction, bright=False)
    assert found["motion"]["R@1"]["share"] > 70 and found["motion"]["R@1"]["low"] > 30
    assert found["order"]["R@1"]["share"] > 40  # shuffled frames still tell along which axis it glides
    assert found["order"]["R@1"]["low"] > 10


def test_tampered_sources_call_the_source_on_what_conditions_make() -> None:
    seen: list[tuple[np.ndarray, int]] = []

    def source(clips: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        seen.append((clips, number))
        return {
            FeatureKey("a", "x"): {"rgb": clips[:, 0, 0, 0, :]},
            FeatureKey("a", "y"): {"rgb": clips[:, 0, 0, 0, :]},
        }

    clips = blobs(0, 0, False)
    found = build_perturbed_extractor(source, ["frozen", "residual"], 1)(clips, 7)
    assert list(found) == [FeatureKey("a", layer, c) for c in (INTACT, "frozen", "residual") for layer in ("x", "y")]
    assert [number for _, number in seen] == [7, 7, 7]
    np.testing.assert_array_equal(seen[0][0], clips)
    np.testing.assert_array_equal(seen[1][0], PERTURBATIONS["frozen"](clips, 1, 0, 0))
    np.testing.assert_array_equal(seen[2][0], PERTURBATIONS["residual"](clips, 1, 0, 0))
    assert list(build_perturbed_extractor(source, ["frozen"], 1, with_intact=False)(clips, 7)) == [
        FeatureKey("a", "x", "frozen"), FeatureKey("a", "y", "frozen")
    ]  # fmt: skip
    with pytest.raises(InputError, match="unknown condition 'frosen'. Did you mean 'frozen'?"):
        build_perturbed_extractor(source, ["frosen"], 1)


def test_shuffles_belong_to_the_pictures_not_to_the_place_in_a_list() -> None:
    def source(clips: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        return {FeatureKey("a", "x"): {"rgb": clips.reshape(len(clips), -1)}}

    def order(clips: np.ndarray, number: int, seed: int) -> list[int]:
        made = build_perturbed_extractor(source, ["shuffled"], 0, seed)(clips, number)[
            FeatureKey("a", "x", "shuffled")
        ]["rgb"]
        return made.reshape(clips.shape)[0, :, 0, 0, 1].tolist()

    clips = np.zeros((1, 9, 2, 2, 3), np.uint8)
    clips[..., 1] = np.arange(9)[None, :, None, None]
    other = clips.copy()
    other[..., 0] = 1
    assert order(clips, 0, 0) == order(clips, 5, 0)
    assert order(clips, 0, 0) != order(clips, 0, 1) and order(clips, 0, 0) != order(other, 0, 0)


# Figures


def test_reliance_by_hand() -> None:
    intact, without = np.array([1, 1, 1, 1, 1, 1, 1, 0.0]), np.array([1, 1, 1, 0, 0, 0, 1, 1.0])
    found = compute_reliance(intact, without, np.full(8, 0.25))
    assert found.share == pytest.approx(100 * (7 - 5) / (7 - 2)) and found.undefined_reason == ""
    assert compute_reliance(intact, intact, np.full(8, 0.25)) == Reliance(0.0, 0.0, 0.0)
    for nothing in (
        compute_reliance(without * 0, without, np.full(8, 0.25)),
        compute_reliance(intact[:1] * 0, intact[:1], intact[:1]),
    ):
        assert nothing.share is None and nothing.low is None and nothing.high is None and nothing.undefined_reason


def test_reliance_is_an_explicit_loop_over_resampled_videos() -> None:
    rng = np.random.default_rng(0)
    intact, without, chance = rng.random(30) < 0.8, rng.random(30) < 0.5, rng.random(30) / 4
    found = compute_reliance(intact * 1.0, without * 1.0, chance, None, 5, 300)
    ratios = []
    for times in sample_counts(30, None, 5, 300):
        rows = np.repeat(np.arange(30), times.astype(int))
        top = sum(float(intact[n]) - float(without[n]) for n in rows)
        ratios.append(top / sum(float(intact[n]) - chance[n] for n in rows))
    assert found.low == pytest.approx(100 * sorted(ratios)[7]) and found.high == pytest.approx(
        100 * sorted(ratios)[292]
    )


def test_paired_intervals_cover_the_truth() -> None:
    """Simulated: intact right with 0.8, of these 60 % stay right, others never; so the share is 0.32 / 0.55."""
    rng, covered, trials = np.random.default_rng(1), 0, 200
    for trial in range(trials):
        intact = rng.random(120) < 0.8
        without = intact & (rng.random(120) < 0.6)
        found = compute_reliance(intact * 1.0, without * 1.0, np.full(120, 0.25), None, trial, 200)
        assert found.low is not None and found.high is not None
        covered += found.low <= 100 * 0.32 / 0.55 <= found.high
    assert 0.90 < covered / trials < 0.985  # binomial sd 0.015


def test_draws_with_nothing_above_chance_lie_beyond_the_others() -> None:
    draws = np.array([[1.0, 2.0], [3.0, 0.0], [1.0, -2.0], [-1.0, 0.0], [0.0, -1.0], [-1.0, 4.0]])
    assert compute_ratios(draws).tolist() == [0.5, np.inf, np.inf, -np.inf, 0.0, -0.25]


def test_chance() -> None:
    train, test = ["a"] * 5 + ["b"] * 3 + ["c"] * 2, ["a", "b", "c", "d"]
    assert compute_draw_chance(train, test).tolist() == [0.5, 0.3, 0.2, 0.0]
    assert compute_draw_chance(train, test).mean() * 100 == pytest.approx(compute_chance_recall(test, train, [1])[1])
    assert compute_probe_chance(train, ["a", "a", "b"]).tolist() == [1.0, 1.0, 0.0]  # always "a" is better than a draw
    assert compute_probe_chance(train, ["b", "b", "a"]).tolist() == [0.3, 0.3, 0.5]
    assert compute_probe_chance(["a", "b"], ["a", "b"]).tolist() == [0.5, 0.5]


def test_probe_is_multinomial_regression_on_standardised_features() -> None:
    """Against the objective written out and given to another solver."""
    rng = np.random.default_rng(2)
    x, query = rng.standard_normal((40, 6)) * [1, 5, 0.1, 1, 1, 1] + 3, rng.standard_normal((30, 6)) * 2 + 3
    labels, truth = [f"c{n % 3}" for n in range(40)], np.arange(40) % 3
    z = (x - x.mean(0)) / x.std(0)

    def objective(weights: np.ndarray) -> float:
        w = weights.reshape(3, 7)
        loss = logsumexp(z @ w[:, :6].T + w[:, 6], axis=1) - (z @ w[:, :6].T + w[:, 6])[np.arange(40), truth]
        return float(0.5 * (w[:, :6] ** 2).sum() + 3.0 / 6 * loss.sum())

    best = minimize(objective, np.zeros(21), method="BFGS").x.reshape(3, 7)
    scores = (query - x.mean(0)) / x.std(0) @ best[:, :6].T + best[:, 6]
    expected = [f"c{k}" for k in scores.argmax(1)]
    assert len(set(expected)) == 3
    assert fit_linear_probe(x.astype(np.float32), labels, 3.0)(query.astype(np.float32)).tolist() == expected


def test_probe_of_fewer_videos_than_features_is_the_same_in_their_span() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(6)
    x, query = rng.standard_normal((20, 50)), rng.standard_normal((200, 50))
    labels = [f"c{n % 3}" for n in range(20)]
    z, asked = ((v - x.mean(0)) / x.std(0) / np.sqrt(50) for v in (x, query))
    model = LogisticRegression(C=10.0, max_iter=1000).fit(z, labels)
    assert np.mean(fit_linear_probe(x, labels, 10.0)(query) == model.predict(asked)) > 0.99  # up to lbfgs's tolerance


def test_probe_names_the_middle_of_classes_on_a_line() -> None:
    x = np.repeat(np.arange(4.0), 10)[:, None] + np.random.default_rng(0).normal(0, 0.05, (40, 1))
    labels = [f"c{n // 10}" for n in range(40)]
    assert fit_linear_probe(x, labels, 10.0)(x).tolist() == labels


def test_probe_of_features_that_say_nothing() -> None:
    labels = ["b"] * 3 + ["a"] * 2
    assert set(fit_linear_probe(np.ones((5, 3), np.float32), labels, 10.0)(np.ones((4, 3), np.float32))) == {"b"}
    assert fit_linear_probe(np.ones((5, 3), np.float32), ["a"] * 5, 10.0)(np.zeros((2, 3))).tolist() == ["a", "a"]
    almost = np.ones((5, 1), np.float32)
    almost[:3] += np.float32(1.2e-7)  # rounding, not a feature
    assert set(fit_linear_probe(almost, labels, 10.0)(almost)) == {"b"}


def test_variance_ratio_is_an_explicit_loop() -> None:
    clips = np.random.default_rng(3).standard_normal((7, 4, 5)) + np.arange(7)[:, None, None]
    unit = [[c / np.sqrt(sum(v * v for v in c)) for c in video] for video in clips]
    means = [sum(video) / 4 for video in unit]
    grand = sum(means) / 7
    within = sum(((c - m) ** 2).sum() for video, m in zip(unit, means, strict=True) for c in video) / (7 * 3)
    between = sum(((m - grand) ** 2).sum() for m in means) / 6 - within / 4
    assert compute_variance_ratio(clips.astype(np.float32)) == pytest.approx(between / within, rel=1e-5)


@pytest.mark.parametrize("true", [0.0, 0.5, 4.0])
def test_variance_ratio_finds_known_components(true: float) -> None:
    """Small variances about a large common mean, so that unit length hardly changes them."""
    rng = np.random.default_rng(4)
    mean = np.full(40, 100.0)
    clips = mean + np.sqrt(true) * rng.standard_normal((400, 1, 40)) + rng.standard_normal((400, 3, 40))
    assert compute_variance_ratio(clips) == pytest.approx(true, abs=0.03 + 0.03 * true)


def test_variance_ratio_without_clips_or_videos_or_variance() -> None:
    clips = np.random.default_rng(5).standard_normal((3, 2, 4))
    assert compute_variance_ratio(clips[:1]) is None and compute_variance_ratio(clips[:, :1]) is None
    assert compute_variance_ratio(np.repeat(clips[:, :1], 2, axis=1)) is None


def test_variance_ratios_of_views_and_crops() -> None:
    test = features_of("test", 16, 1.0, 1.0, 1)
    block = FeatureKey(ENCODER, "pooled")
    found = evaluate_motion(features_of("train", 16, 1.0, 1.0, 0), test).extras["variance_ratio"]
    assert list(found) == ["encoder, pooled"] and list(found["encoder, pooled"]) == ["rgb", "residual", JOINT]
    assert found["encoder, pooled"][JOINT] == compute_variance_ratio(test.clip_vectors[block])
    assert found["encoder, pooled"]["rgb"] == compute_variance_ratio(test.clip_vectors[block][..., :CLASSES])
    shift = np.array([-1.0, 0.0, 1.0], np.float32)[None, None, :, None]  # three crops of each clip, beside each other
    test.clip_vectors[block] = (test.clip_vectors[block][:, :, None] + shift).reshape(16, 9, 8)
    again = evaluate_motion(features_of("train", 16, 1.0, 1.0, 0), test).extras["variance_ratio"]
    assert again["encoder, pooled"][JOINT] == pytest.approx(found["encoder, pooled"][JOINT], rel=1e-4)


def test_sentences() -> None:
    told = compose_reliance_sentence("motion", "R@1", (56.0, 31.0, 12.0), Reliance(56.8, 40.2, 75.1))
    assert told == (
        "Frozen to one frame, R@1 falls from 56.0 to 31.0 (chance 12.0): about 57 % (40 to 75) of what it finds above "
        "chance is lost without motion."
    )
    unsure = compose_reliance_sentence("order", "probe", (56.0, 55.0, 12.0), Reliance(2.3, -4.0, 9.0))
    assert (
        unsure.startswith("With its frames in random order, probe falls from 56.0 to 55.0")
        and "no significant loss" in unsure
    )
    better = compose_reliance_sentence("motion", "R@1", (50.0, 60.0, 12.0), Reliance(-26.0, -40.0, -10.0))
    assert "rises from 50.0 to 60.0" in better and "it finds more without motion (share -26 %" in better
    assert "stays at 50.0" in compose_reliance_sentence("motion", "R@1", (50.0, 50.0, 12.0), Reliance(0.0, 0.0, 0.0))
    assert compose_sentences(
        {}, {ENCODER: {}}, {"encoder, pooled": {"rgb": 1.0, JOINT: 2.345}, "x": {"rgb": None}}
    ) == ["Variance between test videos over variance within a video, encoder, pooled: 2.35."]
