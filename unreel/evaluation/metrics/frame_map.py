"""Frame mAP of action detection, as AVA measures it."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from unreel.corpus.labels.boxes import Detections, Keyframe, KeyframeKey
from unreel.errors import InputError
from unreel.evaluation.metrics.average_precision import average_precision

MAX_PER_KEYFRAME = 50


def iou(boxes_N4: np.ndarray, others_M4: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes x1, y1, x2, y2; float64 (N, M)."""
    one, two = boxes_N4[:, None].astype(np.float64), others_M4[None].astype(np.float64)
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=-1)
    areas = [np.prod(part[..., 2:] - part[..., :2], axis=-1) for part in (one, two)]
    return shared / (areas[0] + areas[1] - shared)


def match_boxes(boxes_N4: np.ndarray, true_M4: np.ndarray, min_iou: float) -> np.ndarray:
    """Which boxes, best first, are right; bool (N,).

    A box is matched to the true box that it overlaps most (the first of equals) and is right if the overlap suffices
    and no earlier box was right there. If that one is taken the box is wrong, even if another overlaps enough: so the
    official evaluation has it.
    """
    is_correct = np.zeros(len(boxes_N4), dtype=bool)
    if not len(true_M4):
        return is_correct
    overlap_NM, matched = iou(boxes_N4, true_M4), set()
    for n, m in enumerate(overlap_NM.argmax(axis=1)):
        if overlap_NM[n, m] >= min_iou and m not in matched:
            is_correct[n] = True
            matched.add(m)
    return is_correct


def compute_frame_map(
    ground_truth: Sequence[Keyframe],
    detections: Detections,
    actions: Collection[int],
    min_iou: float = 0.5,
    excluded_keys: Collection[KeyframeKey] = (),
    max_per_keyframe: int = MAX_PER_KEYFRAME,
) -> tuple[float, dict[int, float]]:
    """Mean average precision over actions and that of each action, in [0, 1].

    1. Actions that are not in `actions` are ignored on both sides, and so are `excluded_keys`.
    2. Of each keyframe the `max_per_keyframe` rows with the highest scores are used, all actions together, ties in the
       order given (0: all rows).
    3. Within keyframe and action, rows are matched by `match_boxes`, best first, ties in the order given. A row of a
       keyframe without a true box of its action is wrong, whether or not the keyframe is in the ground truth.
    4. Each action has one ranking over all keyframes and its interpolated `average_precision`, with recall relative to
       its true boxes; an action without rows has 0.
    5. The mean is over actions that have a true box; the others are left out.

    Raises InputError when no action has a true box. Source: ActivityNet, get_ava_performance.py with
    PascalDetectionEvaluator (IoU 0.5, 50 rows).
    """
    dropped, wanted = set(excluded_keys), set(actions)
    truth = {k.key: k for k in ground_truth if k.key not in dropped}
    totals = dict.fromkeys(sorted(wanted), 0)
    for keyframe in truth.values():
        for action in (a for labels in keyframe.actions for a in labels if a in wanted):
            totals[action] += 1
    matches: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {action: [] for action in totals}
    for key, rows in _group_by_keyframe(detections, wanted, max_per_keyframe):
        if key not in dropped:
            for action in np.unique(detections.actions[rows]).tolist():
                chosen = rows[detections.actions[rows] == action]
                is_correct = match_boxes(detections.boxes[chosen], _select_boxes(truth.get(key), action), min_iou)
                matches[action].append((detections.scores[chosen], is_correct))
    by_action = {action: _pool_average_precision(matches[action], total) for action, total in totals.items() if total}
    if not by_action:
        raise InputError("no box of the ground truth shows any of the actions; there is nothing to be found")
    return float(np.mean(list(by_action.values()))), by_action


def _group_by_keyframe(
    detections: Detections, actions: set[int], limit: int
) -> Iterator[tuple[KeyframeKey, np.ndarray]]:
    """Each keyframe's best rows, best first."""
    rows: dict[KeyframeKey, list[int]] = {}
    for n, (key, action) in enumerate(zip(detections.keys, detections.actions.tolist(), strict=True)):
        if action in actions:
            rows.setdefault(key, []).append(n)
    for key, indices in rows.items():
        order = np.argsort(-detections.scores[indices], kind="stable")
        yield key, np.array(indices)[order][: limit or None]


def _select_boxes(keyframe: Keyframe | None, action: int) -> np.ndarray:
    if keyframe is None:
        return np.zeros((0, 4))
    return keyframe.boxes[[action in labels for labels in keyframe.actions]]


def _pool_average_precision(matches: list[tuple[np.ndarray, np.ndarray]], num_positives: int) -> float:
    if not matches:
        return 0.0
    scores, is_correct = (np.concatenate(part) for part in zip(*matches, strict=True))
    return average_precision(scores, is_correct, num_positives)
