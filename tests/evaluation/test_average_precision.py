"""Average precision against scikit-learn, an explicit twin, and examples worked by hand."""

import numpy as np
import pytest

from unreel.corpus.labels.boxes import Detections, Keyframe, KeyframeKey
from unreel.errors import InputError
from unreel.evaluation.metrics.average_precision import average_precision, ranked_average_precision
from unreel.evaluation.metrics.frame_map import compute_frame_map, iou


def boxed(video: str, time_s: float, *rows: tuple[tuple[float, ...], set[int]]) -> Keyframe:
    places = np.array([box for box, _ in rows], dtype=np.float64).reshape(-1, 4)
    return Keyframe(video, time_s, places, [frozenset(labels) for _, labels in rows])


def detected(*rows: tuple[KeyframeKey, tuple[float, ...], int, float]) -> Detections:
    keys, boxes, actions, scores = zip(*rows, strict=True)
    return Detections(list(keys), np.array(boxes, dtype=np.float64), np.array(actions), np.array(scores))


LEFT, RIGHT, HALF_LEFT = (0.0, 0.0, 0.375, 1.0), (0.5, 0.0, 0.875, 1.0), (0.0, 0.0, 0.375, 0.5)
ONE, TWO = ("a", 1.0), ("a", 2.0)


def slow_average_precision(scores: list[float], truths: list[bool], total: int) -> float:
    """The best precision at each recall or a higher one, summed over the recall that each threshold adds."""
    points = []
    for threshold in sorted(set(scores), reverse=True):
        kept = [truth for score, truth in zip(scores, truths, strict=True) if score >= threshold]
        points.append((sum(kept) / total, sum(kept) / len(kept)))
    area, before = 0.0, 0.0
    for n, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[n:])
        before = recall
    return area


def slow_iou(one: np.ndarray, two: np.ndarray) -> float:
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return width * height / (sum(areas) - width * height)


def slow_frame_map(
    truth: list[Keyframe], found: Detections, actions: list[int], least: float, excluded: set[KeyframeKey], limit: int
) -> dict[int, float]:
    """The definition in loops: choose rows, then rank each action's rows of all keyframes."""
    keys = {k for k in [*found.keys, *(t.key for t in truth)] if k not in excluded}
    of_truth = {t.key: t for t in truth}
    rows = []
    for key in keys:
        mine = [n for n in range(len(found)) if found.keys[n] == key and found.actions[n] in actions]
        mine.sort(key=lambda n: (-found.scores[n], n))
        rows += mine[:limit]
    result = {}
    for action in actions:
        total = sum(action in la for t in truth if t.key not in excluded for la in t.actions)
        scores, truths, taken = [], [], set()
        for n in sorted((n for n in rows if found.actions[n] == action), key=lambda n: (-found.scores[n], n)):
            best, where = -1.0, -1
            t = of_truth.get(found.keys[n])
            for m in range(len(t.boxes) if t else 0):
                if action in t.actions[m] and slow_iou(found.boxes[n], t.boxes[m]) > best:
                    best, where = slow_iou(found.boxes[n], t.boxes[m]), m
            right = best >= least and (found.keys[n], where) not in taken
            if right:
                taken.add((found.keys[n], where))
            scores.append(float(found.scores[n]))
            truths.append(right)
        if total:
            result[action] = slow_average_precision(scores, truths, total) if scores else 0.0
    return result


@pytest.mark.parametrize("seed", range(6))
def test_both_areas_agree_with_their_definitions(seed: int) -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(seed)
    scores = rng.random(50) if seed % 2 else rng.integers(0, 8, 50) / 8  # few values: many ties
    truths = rng.random(50) < 0.3
    ranked, interpolated = ranked_average_precision(scores, truths), average_precision(scores, truths)
    assert ranked == pytest.approx(average_precision_score(truths, scores), abs=1e-12)
    total = int(truths.sum())
    assert interpolated == pytest.approx(slow_average_precision(scores.tolist(), truths.tolist(), total), abs=1e-12)
    assert interpolated >= ranked
    missed = average_precision(scores, truths, total + 7)
    assert missed == pytest.approx(interpolated * total / (total + 7))
    order = rng.permutation(50)
    assert average_precision(scores[order], truths[order]) == interpolated


def test_areas_worked_by_hand() -> None:
    """Precisions at the three positives are 1, 2/4 and 3/5; the envelope lifts the second to 3/5."""
    scores, truths = np.array([9, 8, 7, 6, 5.0]), np.array([1, 0, 0, 1, 1], dtype=bool)
    assert ranked_average_precision(scores, truths) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    assert average_precision(scores, truths) == pytest.approx((1 + 3 / 5 + 3 / 5) / 3)
    assert average_precision(np.zeros(5), truths) == ranked_average_precision(np.zeros(5), truths) == 3 / 5
    assert average_precision(np.zeros(0), np.zeros(0, bool), 2) == 0


def test_what_has_no_area_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 here, got 0"):
        average_precision(np.ones(2), np.zeros(2, bool))
    with pytest.raises(InputError, match="must be finite"):
        average_precision(np.array([1, np.nan]), np.ones(2, bool))
    with pytest.raises(InputError, match="at least 2 here, got 1"):
        average_precision(np.ones(2), np.ones(2, bool), 1)
    with pytest.raises(InputError, match="scores and labels"):
        average_precision(np.ones(2), np.ones(3, bool))


def test_overlaps_agree_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((2, 9, 2, 2)), axis=2)
    one, two = (part.reshape(9, 4) for part in corners)
    np.testing.assert_allclose(iou(one, two), [[slow_iou(a, b) for b in two] for a in one], atol=1e-12)
    assert iou(one, one).diagonal() == pytest.approx(1)
    assert iou(np.array([LEFT]), np.array([RIGHT, HALF_LEFT])).tolist() == [[0.0, 0.5]]


@pytest.mark.parametrize("seed", range(8))
def test_frame_map_agrees_with_the_definition(seed: int) -> None:
    rng, keys = np.random.default_rng(seed), [(f"v{n % 3}", float(n // 3)) for n in range(9)]
    grid = [
        (x / 4, y / 4, x / 4 + w / 4, y / 4 + h / 4) for x in (0, 1) for y in (0, 1) for w in (1, 2) for h in (1, 2)
    ]
    pick = lambda: tuple(np.array(grid[rng.integers(16)]) + rng.integers(0, 3, 4) / 40 * [0, 0, 1, 1])  # noqa: E731
    truth = [
        boxed(*key, *[(pick(), set(rng.integers(0, 6, 2).tolist())) for _ in range(rng.integers(0, 4))])
        for key in keys[:-1]
    ]
    rows = [
        (keys[rng.integers(9)], pick(), int(rng.integers(0, 7)), rng.integers(1, 20) / 20 if seed % 2 else rng.random())
        for _ in range(150)
    ]
    found, actions, excluded, limit = detected(*rows), [0, 1, 2, 3, 9], {keys[0]}, 10 if seed % 3 else 50
    mean, each = compute_frame_map(truth, found, actions, 0.5, excluded, limit)
    expected = slow_frame_map(truth, found, actions, 0.5, excluded, limit)
    assert each == pytest.approx(expected, abs=1e-12)
    assert mean == pytest.approx(np.mean(list(expected.values())))
    assert 9 not in each and 0 < mean < 1


def test_every_rule_once() -> None:
    truth = [boxed(*ONE, (LEFT, {1}), (RIGHT, {1, 2})), boxed(*TWO, (LEFT, {1}))]
    right = [(ONE, LEFT, 1, 0.9), (ONE, RIGHT, 1, 0.8), (TWO, LEFT, 1, 0.7), (ONE, RIGHT, 2, 0.1)]
    assert compute_frame_map(truth, detected(*right), [1, 2, 3]) == (1.0, {1: 1.0, 2: 1.0})
    twice = [(ONE, LEFT, 1, 0.95), *right]  # the second at the same box is wrong: precision 1, 2/3, 3/4
    assert compute_frame_map(truth, detected(*twice), [1])[0] == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)
    loose = [(ONE, HALF_LEFT, 1, 0.9), *right[1:]]  # overlaps by exactly the threshold
    assert compute_frame_map(truth, detected(*loose), [1])[0] == 1
    assert compute_frame_map(truth, detected(*loose), [1], 0.51)[0] == pytest.approx((2 / 3 + 2 / 3) / 3)
    elsewhere = [(("b", 1.0), LEFT, 1, 1.0), *right]  # no ground truth there: wrong, unless excluded
    assert compute_frame_map(truth, detected(*elsewhere), [1])[0] == pytest.approx(3 / 4)
    assert compute_frame_map(truth, detected(*elsewhere), [1], excluded_keys={("b", 1.0)})[0] == 1
    assert compute_frame_map(truth, detected(*right[:2]), [1], excluded_keys={TWO})[0] == 1
    assert compute_frame_map(truth, detected(*right), [1, 2], max_per_keyframe=2)[1] == {1: 1.0, 2: 0.0}
    assert compute_frame_map(truth, detected(*right), [1, 2], max_per_keyframe=0)[1] == {1: 1.0, 2: 1.0}
    other = [(ONE, LEFT, 7, 1.0), (ONE, RIGHT, 7, 1.0), *right]  # unjudged actions take no place among the best
    assert compute_frame_map(truth, detected(*other), [1], max_per_keyframe=2)[0] == 1
    with pytest.raises(InputError, match="nothing to be found"):
        compute_frame_map(truth, detected(*right), [3])


def test_a_row_whose_best_box_is_taken_gets_no_other() -> None:
    """Two true boxes that overlap: both rows like the first one most, so the official evaluation counts one."""
    first, second = (0.0, 0.0, 0.5, 1.0), (0.1, 0.0, 0.6, 1.0)
    truth = [boxed(*ONE, (first, {1}), (second, {1}))]
    found = detected((ONE, first, 1, 0.9), (ONE, (0.02, 0.0, 0.52, 1.0), 1, 0.8))
    assert iou(found.boxes[1:], truth[0].boxes).min() > 0.5
    assert compute_frame_map(truth, found, [1])[0] == 0.5
