"""What calibrates a classifier has not trained it: folds of groups, classes left out in turn, the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from unreel.classification.calibration import (
    MOST_LOST,
    Calibration,
    average_clips,
    choose_lost_share,
    fit_calibration,
    list_answers,
)
from unreel.classification.clip_features import LabelledClips
from unreel.classification.group_folds import NEVER_HELD, assign_class_folds, assign_folds
from unreel.classification.held_out_scores import ScoredVideos, score_folds, score_unknown
from unreel.types import Instance


def make_videos(groups: Sequence[tuple[str, str]]) -> list[Instance]:
    """A video for each (label, group)."""
    return [Instance(f"{n}.mp4", n, 0.0, 1.0, label, group) for n, (label, group) in enumerate(groups)]


def make_clips(videos: list[Instance]) -> LabelledClips:
    """One clip of each, whose only feature is the number of the video."""
    return LabelledClips(np.arange(len(videos), dtype=np.float32).reshape(-1, 1, 1), videos, [])


@dataclass
class Witness:
    """A head that knows which videos it was trained on, and writes their number down for each that it scores."""

    seen: set[int]
    classes: set[int]
    num_classes: int
    log: list[tuple[int, set[int], set[int]]]

    def score(self, features_BD: np.ndarray) -> np.ndarray:
        self.log += [(int(number), self.seen, self.classes) for number in features_BD[:, 0]]
        return np.log(np.full((len(features_BD), self.num_classes), 1 / self.num_classes))


class WitnessTrainer:
    def __init__(self) -> None:
        self.log: list[tuple[int, set[int], set[int]]] = []

    def fit(self, clips_NVD: np.ndarray, class_N: np.ndarray, num_classes: int, values: dict[str, float]) -> Witness:
        return Witness({int(n) for n in clips_NVD.ravel()}, {int(c) for c in class_N}, num_classes, self.log)


VIDEOS = make_videos([(f"c{n % 4}", f"g{n // 3}") for n in range(36)] + [("rare", "g99"), ("rare", "g99")])
CLASS_N = np.array([*(n % 4 for n in range(36)), 4, 4])


def test_every_group_is_in_one_fold_and_every_class_is_left_to_learn() -> None:
    for seed in range(5):
        fold_N = assign_folds(VIDEOS, seed)
        assert all(len({f for f, i in zip(fold_N, VIDEOS, strict=True) if i.group == g}) == 1 for g in ("g0", "g5"))
        assert set(fold_N[36:]) == {NEVER_HELD} and set(fold_N[:36]) == {0, 1, 2, 3, 4}
        for fold in range(5):
            assert {i.label for i, f in zip(VIDEOS, fold_N, strict=True) if f != fold} == {i.label for i in VIDEOS}
    assert assign_folds(VIDEOS, 0).tolist() == assign_folds(VIDEOS, 0).tolist() != assign_folds(VIDEOS, 1).tolist()
    two_of_each = make_videos([(label, f"{label}{n}") for label in "abcdef" for n in range(2)])
    for label in "abcdef":
        of_class = [f for f, i in zip(assign_folds(two_of_each, 3), two_of_each, strict=True) if i.label == label]
        assert len(set(of_class)) == 2, "a class of two groups would else have none left"


def test_no_video_is_scored_by_a_head_that_has_seen_its_group() -> None:
    trainer = WitnessTrainer()
    scored = score_folds(trainer, make_clips(VIDEOS), CLASS_N, assign_folds(VIDEOS, 0), 5, {})  # type: ignore[arg-type]
    assert sorted(number for number, _, _ in trainer.log) == list(range(36)) and len(scored) == 36
    for number, seen, _ in trainer.log:
        assert VIDEOS[number].group not in {VIDEOS[n].group for n in seen}


def test_a_stranger_is_of_a_class_and_of_a_group_that_the_head_has_not_seen() -> None:
    trainer, fold_N = WitnessTrainer(), assign_folds(VIDEOS, 0)
    scored = score_unknown(trainer, make_clips(VIDEOS), CLASS_N, fold_N, 5, {}, seed=0)  # type: ignore[arg-type]
    numbers = iter(trainer.log)
    strangers = 0
    for part in scored:
        for class_number in part.class_N:
            number, seen, classes = next(numbers)
            labels = {VIDEOS[n].label for n in seen}
            assert VIDEOS[number].group not in {VIDEOS[n].group for n in seen}
            assert (class_number == -1) == (VIDEOS[number].label not in labels)
            assert classes == set(range(len(labels))), "classes are numbered from 0 again"
            strangers += class_number == -1
    assert strangers > 0 and next(numbers, None) is None
    assert score_unknown(trainer, make_clips(VIDEOS), CLASS_N, fold_N, 2, {}, seed=0) == []  # type: ignore[arg-type]


def test_class_folds_leave_two_classes() -> None:
    for num_classes in range(3, 24):
        folds = assign_class_folds(num_classes, seed=1)
        assert len(folds) == num_classes and max(np.bincount(folds)) <= num_classes - 2


def draw_scores(count: int, sharpness: float, seed: int, unknown: bool = False, num_classes: int = 4) -> ScoredVideos:
    """Three clips of each video that lean to its class; of an unknown one to none."""
    rng, class_N = np.random.default_rng(seed), np.arange(count) % num_classes
    z = rng.standard_normal((count, 3, num_classes))
    if not unknown:
        z[np.arange(count), :, class_N] += sharpness
    log_p = z - np.log(np.exp(z).sum(axis=2, keepdims=True))
    return ScoredVideos(log_p, np.full(count, -1) if unknown else class_N, make_videos([("", "")] * count))


def test_the_share_to_give_up_is_that_of_a_loop_over_thresholds() -> None:
    known, new = draw_scores(30, 2.0, 0), draw_scores(20, 0.0, 1, unknown=True)
    lost, found = choose_lost_share([known, new], "video", Calibration(1.3, 0.0, 0.9))
    answers = []
    for scored in (known, new):
        for log_p_VC in scored.log_p_NVC:
            clips = [np.exp(row / 0.9) / np.exp(row / 0.9).sum() for row in log_p_VC]
            mean = np.mean(clips, axis=0) ** (1 / 1.3)
            answers.append(mean / mean.sum())
    right = [p.max() for p, c in zip(answers[:30], known.class_N, strict=True) if p.argmax() == c]
    strange = [p.max() for p in answers[30:]]
    best = (-1.0, 0.0, 0.0)
    for level in sorted([*right, *strange]):
        given_up, away = np.mean([p < level for p in right]), np.mean([p < level for p in strange])
        if given_up <= MOST_LOST and away - given_up > best[0] + 1e-12:
            best = (away - given_up, given_up, away)
    assert lost == pytest.approx(best[1]) and found["turned_away"] == pytest.approx(100 * best[2], abs=0.01)
    pairs = [(r > s) + 0.5 * (r == s) for r in right for s in strange]
    assert found["auroc"] == pytest.approx(100 * np.mean(pairs), abs=0.01)


@pytest.mark.parametrize("unit", ["clip", "video"])
def test_the_threshold_gives_up_that_share_of_the_right_answers(unit: str) -> None:
    held_out = draw_scores(200, 2.0, 2)
    calibration, found = fit_calibration(held_out, [draw_scores(60, 2.0, 3), draw_scores(60, 0.0, 4, True)], unit)  # type: ignore[arg-type]
    answers = list_answers(held_out, unit, calibration)  # type: ignore[arg-type]
    kept = (answers.confidence_N >= calibration.threshold)[answers.is_right_N].mean()
    assert kept + 0.01 >= 1 - MOST_LOST and found["kept_right"] == pytest.approx(100 * kept, abs=0.01)
    assert found["kept_wrong"] < found["kept_right"] and found["turned_away"] > 20
    assert (calibration.clip_temperature == 1.0) == (unit == "clip")


def test_two_classes_give_up_one_right_answer_of_twenty() -> None:
    held_out = draw_scores(400, 2.0, 5, num_classes=2)
    calibration, found = fit_calibration(held_out, [], "video")
    answers = list_answers(held_out, "video", calibration)
    assert (answers.confidence_N >= calibration.threshold)[answers.is_right_N].mean() == pytest.approx(0.95, abs=0.01)
    assert "turned_away" not in found


def test_without_held_out_videos_nothing_is_changed() -> None:
    nothing = ScoredVideos(np.zeros((0, 3, 4)), np.zeros(0, np.int64))
    assert fit_calibration(nothing, [], "clip")[0] == Calibration()


def test_calibration_makes_probabilities_that_mean_what_they_say() -> None:
    too_sure = draw_scores(600, 1.5, 6)
    too_sure = ScoredVideos(too_sure.log_p_NVC * 5, too_sure.class_N, too_sure.instances)
    for unit in ("clip", "video"):
        calibration, _ = fit_calibration(too_sure, [], unit)  # type: ignore[arg-type]
        for used, most in ((calibration, 6.0), (Calibration(), 100.0)):
            answers = list_answers(too_sure, unit, used)  # type: ignore[arg-type]
            gap = 100 * abs(answers.confidence_N.mean() - answers.is_right_N.mean())
            assert gap < most
        assert gap > 8, "the raw scores are too sure"
    assert np.exp(average_clips(too_sure.log_p_NVC, 1.0)).sum(axis=1) == pytest.approx(1.0)
