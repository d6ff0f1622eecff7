"""Few labels: which videos are drawn, what a handful of them is worth, and the curve of it."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from unreel.errors import InputError
from unreel.evaluation.baselines.trivial_baselines import MEAN_FRAME
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.protocols import few_labels
from unreel.evaluation.protocols.few_labels import (
    classify_logistic,
    evaluate_few_labels,
    finetune_few_labels,
)
from unreel.evaluation.protocols.label_sampling import DrawPlan, sample_labels
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, FeatureKey, VideoFeatures
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.report.label_curve import draw_label_curve, space_labels
from unreel.types import Instance
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

LABELS = ["a"] * 12 + ["b"] * 7 + ["c"] * 3
GROUPS = [f"g{n % 4}" for n in range(12)] + [f"h{n}" for n in range(7)] + ["i"] * 3


def draw(k: int | None = None, share: float | None = None, seed: int = 0) -> list[int]:
    return list(sample_labels(LABELS, GROUPS, k, share, seed))


@pytest.mark.parametrize("seed", range(20))
def test_draws_are_balanced_and_nested(seed: int) -> None:
    before: set[int] = set()
    for k in (1, 2, 3, 5, 12):
        found = draw(k, seed=seed)
        assert found == sorted(set(found)) == draw(k, seed=seed)
        assert Counter(LABELS[n] for n in found) == {"a": min(k, 12), "b": min(k, 7), "c": min(k, 3)}
        assert before <= set(found)
        before = set(found)
    assert set(draw(1, seed=seed)) <= set(draw(share=0.5, seed=seed))


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_spread_while_there_are_others(seed: int) -> None:
    for k in (1, 2, 4, 6, 8):
        counts = Counter(GROUPS[n] for n in draw(k, seed=seed) if LABELS[n] == "a")
        assert max(counts.values()) == -(-k // 4) and len(counts) == min(k, 4)


def test_a_video_without_a_group_is_its_own() -> None:
    groups = ["g"] * 4 + [""] * 4
    for seed in range(20):
        assert sum(groups[n] == "g" for n in sample_labels(["a"] * 8, groups, 5, None, seed)) == 1


def test_every_video_has_the_same_chance_to_be_first() -> None:
    uneven = ["big"] * 5 + ["one", "two", ""]
    counts = Counter(int(sample_labels(["a"] * 8, uneven, 1, None, seed)[0]) for seed in range(1600))
    assert stats.chisquare([counts[n] for n in range(8)]).pvalue > 1e-3


def test_classes_are_drawn_apart_from_each_other() -> None:
    pairs = Counter(tuple(sample_labels(["a", "a", "a", "b", "b", "b"], [""] * 6, 1, None, s)) for s in range(900))
    assert len(pairs) == 9 and stats.chisquare(list(pairs.values())).pvalue > 1e-3


def test_shares_round_and_leave_one_of_each_class() -> None:
    counts = {share: Counter(LABELS[n] for n in draw(share=share)) for share in (0.01, 0.1, 0.25, 1.0)}
    assert counts[0.01] == counts[0.1] | {"a": 1} == {"a": 1, "b": 1, "c": 1}
    assert counts[0.25] == {"a": 3, "b": 2, "c": 1} and counts[1.0] == Counter(LABELS)


@pytest.mark.parametrize(("k", "share"), [(None, None), (1, 0.1), (0, None), (None, 0.0), (None, 1.5)])
def test_what_cannot_be_drawn_is_refused(k: int | None, share: float | None) -> None:
    with pytest.raises(InputError, match=re.escape(f"{k} and {share}")):
        draw(k, share)


def test_the_span_of_the_videos_holds_the_solution() -> None:
    """The classifier in the span of the training videos answers as scikit-learn's in all dimensions."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    train_ND, test_QD = rng.standard_normal((9, 40)) / 6, rng.standard_normal((60, 40)) / 6
    labels = ["a", "b", "c"] * 3
    twin = LogisticRegression(C=few_labels.REGULARIZATION_C, max_iter=5000, tol=1e-8).fit(train_ND, labels)
    margin_Q = np.sort(twin.predict_proba(test_QD))[:, -1] - np.sort(twin.predict_proba(test_QD))[:, -2]
    sure = margin_Q > 0.01
    assert sure.sum() > 50 and list(classify_logistic(train_ND, labels, test_QD)[sure]) == list(
        twin.predict(test_QD)[sure]
    )


def features(count: int, seed: int, classes: int = 4, noise: float = 0.3) -> VideoFeatures:
    """Videos of classes that the encoder tells apart and pixels do not; two views, other scales."""
    rng = np.random.default_rng(seed)
    who = [Instance(f"{seed}/{n}.mp4", n, 0.0, 1.0, f"c{n % classes}", f"{seed}/{n // 8}") for n in range(count)]
    centres = np.eye(6)[[n % classes for n in range(count)]]
    seen = np.concatenate([centres + noise * rng.standard_normal((count, 6)), 1000 * rng.random((count, 1))], axis=1)
    pooled, conv5, pixels = (
        FeatureKey(ENCODER, "pooled"),
        FeatureKey(ENCODER, "conv5"),
        FeatureKey(MEAN_FRAME, "pixels"),
    )
    vectors = {pooled: seen, conv5: seen[:, ::-1], pixels: rng.standard_normal((count, 5))}
    columns = {block: {"rgb": slice(0, 3), "residual": slice(3, None)} for block in (pooled, conv5)}
    columns[pixels] = {"pixels": slice(0, None)}
    return VideoFeatures(
        who, {block: v.astype(np.float32) for block, v in vectors.items()}, columns, {}, np.zeros((count, 1, 2))
    )


@pytest.fixture(scope="module")
def result() -> Result:
    return evaluate_few_labels(features(48, 0), features(40, 1), DrawPlan((5, 1), (0.5,), 4))


def test_the_table(result: Result) -> None:
    assert list(result.rows) == ["chance", "joint", MEAN_FRAME]
    assert result.columns == ["50 %", "1 per class", "5 per class", "all"]
    assert set(result.floors) == {"chance", MEAN_FRAME} and set(result.rows["chance"].values()) == {25.0}
    joint, floor = result.rows["joint"], result.rows[MEAN_FRAME]
    assert joint["all"] > 90 > joint["1 per class"] > 40 > floor["all"]
    assert joint["5 per class"] > joint["1 per class"]
    assert result.intervals == {} and "± their deviation" in result.caption
    json.dumps(result.to_json(), allow_nan=False)


def test_means_and_deviations_by_hand(result: Result) -> None:
    train, test = features(48, 0), features(40, 1)
    all_ND, query_QD = (f.vectors[FeatureKey(ENCODER, "pooled")].astype(np.float64) for f in (train, test))
    mean, std = all_ND.mean(0), all_ND.std(0)
    found = []
    for seed in range(4):
        rows = sample_labels(train.labels, train.groups, 5, None, seed)
        inputs = ((all_ND[rows] - mean) / std / 7**0.5, (query_QD - mean) / std / 7**0.5)
        answers = classify_logistic(inputs[0], [train.labels[n] for n in rows], inputs[1])
        found.append(100 * np.mean([a == b for a, b in zip(answers, test.labels, strict=True)]))
    (point,) = (p for p in result.extras["curve"] if p["row"] == "joint" and p["column"] == "5 per class")
    assert result.rows["joint"]["5 per class"] == point["mean"] == pytest.approx(np.mean(found))
    assert point["std"] == pytest.approx(np.std(found, ddof=1)) and point["x"] == 5


def test_the_curve_ascends_in_labels(result: Result) -> None:
    for name in ("joint", MEAN_FRAME, "chance"):
        points = [p for p in result.extras["curve"] if p["row"] == name]
        assert [p["x"] for p in points] == [1, 5, 6, 12] and points[-1]["std"] == 0


def test_two_evaluations_give_the_same_digits(result: Result) -> None:
    again = evaluate_few_labels(features(48, 0), features(40, 1), DrawPlan((5, 1), (0.5,), 4))
    assert again.to_json() == result.to_json()


def test_intervals_are_percentiles_of_many_draws() -> None:
    found = evaluate_few_labels(features(24, 0), features(20, 1), DrawPlan((1,), draws=20))
    low, high = found.intervals["joint"]["1 per class"]
    assert low < found.rows["joint"]["1 per class"] < high and "all" not in found.intervals["joint"]
    assert "percentile" in found.caption


def test_a_class_with_too_few_videos_gives_all_and_is_said() -> None:
    train, test = features(24, 0), features(20, 1)
    short = train.select_videos(np.array([n for n in range(24) if n % 4 or n < 8]))  # c0 has 2 videos, the others 6
    found = evaluate_few_labels(short, test, DrawPlan((1, 5), draws=2))
    assert [s for s in found.warnings if "fewer" in s] == [
        "5 per class: 1 of 4 classes have fewer videos; all are taken (c0 2)."
    ]
    assert found.protocol["labels_per_class"]["5 per class"] == (2 + 5 * 3) / 4


def test_classes_that_only_the_test_list_has_count_as_wrong() -> None:
    found = evaluate_few_labels(features(24, 0), features(20, 1, classes=5, noise=0.01), DrawPlan((5,), draws=2))
    assert found.rows["joint"]["all"] == 80 and any("count as wrong" in s for s in found.warnings)
    assert found.rows["chance"]["all"] == pytest.approx(20)


def test_blocks_can_be_chosen_and_have_names_of_their_own() -> None:
    train, test = features(24, 0), features(20, 1)
    blocks = [FeatureKey(MEAN_FRAME, "pixels"), FeatureKey(ENCODER, "conv5")]
    found = evaluate_few_labels(train, test, DrawPlan((1,), draws=1), feature_keys=blocks)
    assert list(found.rows) == ["chance", "joint", MEAN_FRAME]
    found = evaluate_few_labels(
        train, test, DrawPlan((1,), draws=1), feature_keys=[FeatureKey(ENCODER, "conv5"), FeatureKey(ENCODER, "pooled")]
    )
    assert list(found.rows) == ["chance", "joint (conv5, intact)", "joint (pooled, intact)"]
    with pytest.raises(InputError, match="no features of layer 'pooled'"):
        evaluate_few_labels(VideoFeatures(train.instances), test, DrawPlan((1,)))


@pytest.mark.parametrize("asked", [{"draws": 0}, {"ks": (), "shares": ()}])
def test_no_draws_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="1 draw or more"):
        evaluate_few_labels(features(24, 0), features(20, 1), DrawPlan(**asked))


QUICK = Recipe("quick", epochs=1, batch_size=4, num_clips=1, workers=0)


def test_fine_tuning_is_given_the_drawn_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rows see the same draws and seeds, with no validation, and the means are of what comes back."""
    train, test, calls = features(24, 0).instances, features(20, 1).instances, []

    def fake(encoder: object, train: list[Instance], test: list[Instance], recipe: Recipe, scratch: bool) -> object:
        calls.append(([i.path for i in train], recipe.seed, recipe.needs_validation, scratch))
        right = np.arange(len(test)) < len(train) / (2 if scratch else 1)
        classes = sorted({i.label for i in train})
        given = {"instances": test, "classes": classes, "protocol": {"recipe": "quick"}, "warnings": []}
        return SimpleNamespace(is_correct=lambda: right, known_instances=test, **given)

    monkeypatch.setattr(few_labels, "finetune", fake)
    told: list[tuple[int, int]] = []
    plan = DrawPlan((2,), (0.25,), 3)
    found = finetune_few_labels(None, train, test, replace(QUICK, seed=7), plan, lambda *t: told.append(t))  # type: ignore[arg-type]
    labels, groups = [i.label for i in train], [i.group for i in train]
    wanted = ((None, 0.25), (2, None))
    drawn = [[sample_labels(labels, groups, k, share, seed) for seed in range(3)] for k, share in wanted]
    everything = [i.path for i in train]
    expected = [
        ([train[n].path for n in rows], 7 + seed, False, False) for one in drawn for seed, rows in enumerate(one)
    ]
    assert [c for c in calls if not c[3]] == [*expected, (everything, 7, False, False)]
    assert [c[:3] for c in calls if c[3]] == [c[:3] for c in calls if not c[3]]
    share = {"25 %": 5.0 * len(drawn[0][0])}
    assert found.rows["fine-tuned"] == share | {"2 per class": 40, "all": 100}
    assert found.rows["from scratch"]["2 per class"] == 20 and found.rows["from scratch"]["all"] == 60
    assert told == [(n, 14) for n in range(1, 15)] and found.protocol["seed"] == 7


def test_fine_tuning_with_few_labels_runs(motion_set: Path) -> None:
    found: dict[str, list[Instance]] = {}
    for name in ("train", "test"):
        lines = (motion_set / f"{name}.txt").read_text().split()
        kept = [line for line in lines if line.startswith(("sway", "drift"))] or lines[:8]
        found[name] = [
            Instance(str(motion_set / line), n, 0.0, float("inf"), Path(line).parent.name)
            for n, line in enumerate(kept[: {"train": 6, "test": 3}[name]])
        ]
    encoder = Encoder(EncoderSpec("tiny", clip=ClipSpec(8), views=ViewSpec(("rgb",), 32)))
    result = finetune_few_labels(encoder, found["train"], found["test"], QUICK, DrawPlan((1,), draws=1))
    assert list(result.rows) == ["chance", "fine-tuned", "from scratch"] and result.columns == ["1 per class", "all"]
    json.dumps(result.to_json(), allow_nan=False)


def test_the_picture_names_every_line_in_the_pages_colours(result: Result) -> None:
    svg = draw_label_curve(result)
    assert svg == draw_label_curve(Result.from_json(json.loads(json.dumps(result.to_json()))))
    for text in ("joint", MEAN_FRAME, "chance", "labelled videos per class", "all (12)"):
        assert f">{text}<" in svg
    assert "var(--accent)" in svg and "http" not in svg and "#01" not in svg and "<?xml" not in svg


def test_a_picture_of_one_number_of_labels_that_is_all_of_them() -> None:
    found = evaluate_few_labels(features(8, 0), features(20, 1), DrawPlan((2,), draws=1))  # 2 per class are all
    assert ">all (2)<" in draw_label_curve(found) and UNTRAINED_ENCODER not in found.rows


@pytest.mark.parametrize("seed", range(5))
def test_names_at_line_ends_keep_their_distance(seed: int) -> None:
    wanted = sorted(np.random.default_rng(seed).uniform(0, 10, 8).tolist())
    placed = space_labels(wanted, 1.0)
    assert all(b - a >= 1 - 1e-9 for a, b in zip(placed, placed[1:], strict=False))
    assert np.mean(placed) == pytest.approx(np.mean(wanted))
    assert space_labels([0.0, 5.0], 1.0) == [0.0, 5.0] and space_labels([0.0, 0.0], 1.0) == [-0.5, 0.5]
