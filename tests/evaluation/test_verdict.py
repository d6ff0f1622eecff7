"""The verdict: levels from figures, words, files; with labels and without."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unreel.evaluation.verdict.decision import FloorComparison, Verdict, compare_with_floors
from unreel.evaluation.verdict.labelled import judge_with_labels, read_labelled_verdict
from unreel.evaluation.verdict.verdict_file import read_verdict, write_verdict


def compare(own: float, other: float, low: float, high: float, floor: str = "frame difference") -> FloorComparison:
    return FloorComparison("R@1, joint", floor, own, other, low, high)


@pytest.mark.parametrize(
    ("comparison", "level"),
    [
        (compare(60, 40, 10, 30), "better"),
        (compare(60, 58, -3, 7), "not shown"),
        (compare(60, 59, 0, 2), "not shown"),
        (compare(60, 59, 0.04, 2), "not shown"),  # printed as +0.0 to +2.0
        (compare(60, 60, -3, 3), "not better"),
        (compare(40, 60, -30, -10), "not better"),
        (compare(59, 60, -5, 3), "not better"),
    ],
)
def test_levels(comparison: FloorComparison, level: str) -> None:
    assert comparison.level == level
    assert Verdict((comparison,), "90 test videos").level == level


def test_one_test_with_several_floors() -> None:
    good, open_, bad = compare(60, 40, 10, 30), compare(60, 58, -3, 7), compare(60, 61, -4, 2, "colour histogram")
    assert Verdict((good, open_), "").level == "not shown"
    assert Verdict((good, bad, open_), "").level == "not better"
    assert Verdict((good, good), "").level == "better"
    assert Verdict((), "").level == "not shown" and "too few videos" in Verdict((), "3 videos").sentence


@pytest.mark.parametrize(
    ("outcomes", "level"),
    [
        ("++", "better"),
        ("+++", "better"),
        ("++o", "better"),
        ("++-", "better"),
        ("++!", "not better"),  # a proven loss is never outvoted
        ("+oo", "not shown"),
        ("+o-", "not shown"),
        ("+o", "not shown"),
        ("ooo", "not shown"),
        ("+--", "not better"),
        ("+-", "not better"),
        ("o--", "not better"),
    ],
)
def test_most_tests_must_be_won(outcomes: str, level: str) -> None:
    kinds = {"+": (60, 40, 10, 30), "o": (60, 58, -3, 7), "-": (60, 61, -4, 2), "!": (40, 60, -30, -10)}
    comparisons = tuple(replace(compare(*kinds[kind]), test=f"test {n}") for n, kind in enumerate(outcomes))
    verdict = Verdict(comparisons, "90 videos")
    assert verdict.level == level
    assert (verdict.undecided is not None) == (level == "better" and outcomes.strip("+") != "")
    assert ("Not shown in one test: test 2: 60.0 %" in verdict.sentence) == (verdict.undecided is not None)
    closest = {"better": 20, "not shown": 2}.get(level)
    if closest and "-" not in outcomes:
        assert verdict.closest is not None and verdict.closest.margin == closest


def test_a_proven_loss_is_the_one_that_is_named() -> None:
    won = [replace(compare(60, 40, 10, 30), test=f"test {n}") for n in range(2)]
    larger, proven = compare(60, 65, -12, 2, "colour histogram"), compare(60, 63, -4, -1)
    verdict = Verdict((*won, larger, proven), "90 videos")
    assert verdict.level == "not better" and verdict.closest == proven
    assert "subtracting frames" in verdict.headline and "contains 0" not in verdict.sentence


def test_words() -> None:
    worst = compare(40, 60, -30, -10)
    bad = Verdict((compare(50, 52, -4, 1, "colour histogram"), worst), "90 test videos with labels")
    assert bad.sentence.startswith("Not better than subtracting frames. R@1, joint: 40.0 %, frame difference 60.0 %")
    assert "--minutes" in bad.sentence and "90 test videos with labels" in bad.sentence
    unclear = Verdict((compare(60, 58, -3, 7, "untrained encoder"), compare(60, 40, 10, 30)), "90 videos")
    assert unclear.headline == "Not shown to be better than the network with random weights"
    good = Verdict((compare(60, 40, 10, 30), compare(60, 20, 30, 50, "colour histogram")), "90 videos")
    assert good.headline == "Better than what needs no training"
    assert "subtracting frames and comparing colours" in good.sentence and "--minutes" not in good.sentence


def test_the_interval_is_paired() -> None:
    """Both figures vary much over videos, their difference does not: intervals of each alone would overlap."""
    rng = np.random.default_rng(0)
    floor_N = rng.uniform(0, 100, 40)
    own_N = floor_N + rng.normal(4, 1, 40)
    (found,) = compare_with_floors("far clip", own_N, {"colour histogram": floor_N})
    assert found.level == "better" and 3 < found.low < found.margin < found.high < 5


def test_whole_groups_are_drawn() -> None:
    """Twenty videos of each of three recordings are three draws, not sixty."""
    own_N, floor_N = np.repeat([90.0, 90.0, 40.0], 20), np.full(60, 50.0)
    groups = ["a"] * 20 + ["b"] * 20 + ["c"] * 20
    assert compare_with_floors("", own_N, {"x": floor_N})[0].level == "better"
    assert compare_with_floors("", own_N, {"x": floor_N}, groups)[0].level == "not shown"


def test_videos_without_a_score_are_left_out_and_few_videos_give_no_comparison() -> None:
    own_N = np.array([80.0, 70, 90, 60, 75, np.nan, 10])
    floor_N = np.array([50.0, 40, 60, 30, 45, 50, np.nan])
    (found,) = compare_with_floors("", own_N, {"x": floor_N}, ["a", "b", "c", "d", "e", "f", "g"])
    assert (found.encoder_figure, found.floor_figure) == (75, 45)
    assert compare_with_floors("", own_N[2:], {"x": floor_N[2:]}) == []


def test_a_chance_level_encoder_is_seldom_called_better() -> None:
    """200 encoders that equal the floor but for noise: the rule is wrong no more often than its interval says."""
    rng = np.random.default_rng(1)
    levels = [
        compare_with_floors("", rng.normal(50, 10, 60), {"x": rng.normal(50, 10, 60)})[0].level for _ in range(200)
    ]
    assert levels.count("better") <= 12 and 70 < levels.count("not better") < 130


def test_with_labels_the_joint_row_counts_and_not_the_best() -> None:
    rng = np.random.default_rng(2)
    hits = {name: 100.0 * (rng.random(80) < p) for name, p in (("rgb", 0.9), ("joint", 0.3), ("frame difference", 0.5))}
    verdict = judge_with_labels("R@1", hits, ["chance", "frame difference"], [""] * 80)
    assert verdict.level == "not better" and [c.test for c in verdict.comparisons] == ["R@1, joint"]
    del hits["joint"]
    verdict = judge_with_labels("R@1", hits, ["chance", "frame difference"], [""] * 80)
    assert verdict.level == "better" and verdict.basis == "80 test videos with labels"
    assert judge_with_labels("R@1", {"rgb": hits["rgb"]}, [], [""] * 80).comparisons == ()


def test_files_and_json(tmp_path: Path) -> None:
    verdict = Verdict((compare(60, 40, 10, 30),), "90 videos", {"encoder": 28.1, "colour histogram": 99.0})
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    assert "28.1 %" in verdict.same_video_sentence and "99.0 %" in verdict.same_video_sentence
    write_verdict(tmp_path, verdict, "step-00000060")
    assert read_verdict(tmp_path) == read_verdict(tmp_path, "step-00000060") == verdict
    assert read_verdict(tmp_path, "step-00000070") is None, "another checkpoint"
    (tmp_path / "verdict.json").write_text("{")
    assert read_verdict(tmp_path) is None
    assert read_labelled_verdict({"verdict": verdict.to_json()}) == verdict
    assert read_labelled_verdict({}) is None
