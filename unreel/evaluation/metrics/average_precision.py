"""Average precision, for rankings and for boxes.

Two areas go by that name. The *interpolated* one takes at each recall the best precision at that recall or a higher one
(PASCAL VOC since 2010, AVA); the *ranked* one takes the precision as it is (retrieval; scikit-learn's
average_precision_score), and is never larger. Rows with equal scores are one threshold in both, so no order of rows is
rewarded: a constant score gets the share of positives. (The official AVA script leaves the order of ties to its sort.)
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from unreel.corpus.labels.boxes import Detections, Keyframe, KeyframeKey
from unreel.errors import InputError

MAX_PER_KEYFRAME = 50


def average_precision(scores: np.ndarray, is_positive: np.ndarray, num_positives: int | None = None) -> float:
    """Exact area under the interpolated precision-recall curve, in [0, 1], of scores (N,) and truths (N,).

    `num_positives` is what recall is a share of, more than are found in `is_positive` when some were never scored.
    Raises InputError when there is none, and for a score that is not finite.
    Source: Everingham et al. 2010, development kit; ActivityNet's AVA evaluation.
    """
    precision, recall = precision_recall_curve(scores, is_positive, num_positives)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


def ranked_average_precision(scores: np.ndarray, is_positive: np.ndarray, num_positives: int | None = None) -> float:
    """Precision at each threshold weighted by the recall it adds, in [0, 1]: scikit-learn's average_precision_score."""
    precision, recall = precision_recall_curve(scores, is_positive, num_positives)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall_curve(
    scores: np.ndarray, is_positive: np.ndarray, num_positives: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, float64 (K,), of the rows at or above each of the K different scores, highest first."""
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(is_positive, dtype=bool)
    if scores.shape != positive.shape or scores.ndim != 1:
        raise InputError(f"each row needs a score and a truth, got {scores.shape} and {positive.shape}")
    if not np.isfinite(scores).all():
        raise InputError("a score is not finite; it has no place in a ranking")
    total = int(positive.sum()) if num_positives is None else num_positives
    if total < max(1, int(positive.sum())):
        raise InputError(f"average precision needs a positive, and all of them counted: got num_positives={total}")
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(positive[order])[last]
    return hits / (last + 1), hits / total


def iou(boxes_N4: np.ndarray, others_M4: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes x1, y1, x2, y2; float64 (N, M)."""
    one, two = boxes_N4[:, None].astype(np.float64), others_M4[None].astype(np.float64)
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=-1)
    areas = [np.prod(part[..., 2:] - part[..., :2], axis=-1) for part in (one, two)]
    return shared / (areas[0] + areas[1] - shared)


def match_boxes(boxes_N4: np.ndarray, true_M4: np.ndarray, min_iou: float) -> np.ndarray:
    """Which boxes, best first, are right; bool (N,).

    A box belongs to the true box that it overlaps most (the first of equals) and is right if the overlap suffices and
    no earlier box was right there. When it is taken the box is wrong, even if a free one overlaps enough: so the
    official evaluation has it.
    """
    right = np.zeros(len(boxes_N4), dtype=bool)
    if not len(true_M4):
        return right
    overlap_NM, taken = iou(boxes_N4, true_M4), set()
    for n, m in enumerate(overlap_NM.argmax(axis=1)):
        if overlap_NM[n, m] >= min_iou and m not in taken:
            right[n] = True
            taken.add(m)
    return right


def compute_frame_map(
    ground_truth: Sequence[Keyframe],
    detections: Detections,
    actions: Collection[int],
    min_iou: float = 0.5,
    excluded_keys: Collection[KeyframeKey] = (),
    max_per_keyframe: int = MAX_PER_KEYFRAME,
) -> tuple[float, dict[int, float]]:
    """Mean average precision over actions and that of each action, in [0, 1].

    1. Rows of actions that are not in `actions` do not count, on either side; nor do `excluded` keyframes.
    2. Of each keyframe the `per_keyframe` rows with the highest scores count, all actions together, ties in the order
       given (0: all rows).
    3. Within keyframe and action, rows are matched to boxes as in `matches`, best first, ties in the order given.
       A row of a keyframe without a box of its action is wrong, be the keyframe in the ground truth or not.
    4. Each action has one ranking over all keyframes and its interpolated `average_precision`, recall being a share of
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
    judged: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {action: [] for action in totals}
    for key, rows in _group_by_keyframe(detections, wanted, max_per_keyframe):
        if key not in dropped:
            for action in np.unique(detections.actions[rows]).tolist():
                mine = rows[detections.actions[rows] == action]
                right = match_boxes(detections.boxes[mine], _select_boxes(truth.get(key), action), min_iou)
                judged[action].append((detections.scores[mine], right))
    found = {action: _pool_average_precision(judged[action], total) for action, total in totals.items() if total}
    if not found:
        raise InputError("no box of the ground truth shows any of the actions; there is nothing to be found")
    return float(np.mean(list(found.values()))), found


def _group_by_keyframe(
    detections: Detections, actions: set[int], limit: int
) -> Iterator[tuple[KeyframeKey, np.ndarray]]:
    """Each keyframe's best rows, best first."""
    rows: dict[KeyframeKey, list[int]] = {}
    for n, (key, action) in enumerate(zip(detections.keys, detections.actions.tolist(), strict=True)):
        if action in actions:
            rows.setdefault(key, []).append(n)
    for key, mine in rows.items():
        order = np.argsort(-detections.scores[mine], kind="stable")
        yield key, np.array(mine)[order][: limit or None]


def _select_boxes(keyframe: Keyframe | None, action: int) -> np.ndarray:
    if keyframe is None:
        return np.zeros((0, 4))
    return keyframe.boxes[[action in labels for labels in keyframe.actions]]


def _pool_average_precision(matches: list[tuple[np.ndarray, np.ndarray]], num_positives: int) -> float:
    if not matches:
        return 0.0
    scores, right = (np.concatenate(part) for part in zip(*matches, strict=True))
    return average_precision(scores, right, num_positives)
