"""Scores of training videos by heads that have not seen them, and of classes by heads that have not seen those.

Each fold of groups is scored by a head trained on the others, so that every training video counts once and no test
video is needed. The values of the head (C, rate, k) are chosen once before, on a fifth of the same groups, so these
scores are slightly too good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from unreel.classification.clip_features import LabelledClips
from unreel.classification.group_folds import NEVER_HELD, assign_class_folds, assign_folds, name_groups
from unreel.classification.heads.head import Head
from unreel.evaluation.metrics.accuracy import encode_labels
from unreel.evaluation.probes.grid_search import Hyperparameters
from unreel.evaluation.validation_split import hold_out_groups
from unreel.types import Instance

MIN_CLASSES_FOR_UNKNOWN = 3  # with one of two left out, nothing would be left to tell apart


class HeadTrainer(Protocol):
    """Chooses values on held-out videos, and trains heads on features (N, V, D) and class numbers (N,)."""

    def choose(self, clips_NVD: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None) -> Hyperparameters: ...

    def fit(self, clips_NVD: np.ndarray, class_N: np.ndarray, num_classes: int, values: Hyperparameters) -> Head: ...


@dataclass(frozen=True)
class ScoredVideos:
    """Log-probabilities (N, V, C) of the clips of videos, their classes (N,), -1 for none of the C, and instances."""

    log_p_NVC: np.ndarray
    class_N: np.ndarray
    instances: list[Instance] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.class_N)


@dataclass(frozen=True)
class TrainedHead:
    """A head, its values, the training videos as scored by heads that had not seen them, and by heads that had not seen
    their class either, beside videos of classes that these had."""

    head: Head
    values: Hyperparameters
    held_out: ScoredVideos
    unknown: list[ScoredVideos]


def train_head(trainer: HeadTrainer, clips: LabelledClips, classes: Sequence[str], seed: int) -> TrainedHead:
    """Choose values, score held-out videos, then train on all videos."""
    class_N = encode_labels([i.label for i in clips.instances], classes)
    held_N = hold_out_groups(clips.instances, 0.2, seed)
    values = trainer.choose(clips.features_NVD, class_N, held_N)
    fold_N = assign_folds(clips.instances, seed)
    held_out = score_folds(trainer, clips, class_N, fold_N, len(classes), values)
    unknown = score_unknown(trainer, clips, class_N, fold_N, len(classes), values, seed)
    return TrainedHead(trainer.fit(clips.features_NVD, class_N, len(classes), values), values, held_out, unknown)


def score_folds(
    trainer: HeadTrainer,
    clips: LabelledClips,
    class_N: np.ndarray,
    fold_N: np.ndarray,
    num_classes: int,
    values: Hyperparameters,
) -> ScoredVideos:
    """Every video that is ever held out, scored by the head of the other folds."""
    log_p_NVC = np.zeros((*clips.features_NVD.shape[:2], num_classes))
    for fold in sorted({*fold_N.tolist()} - {NEVER_HELD}):
        inside_N = fold_N == fold
        head = trainer.fit(clips.features_NVD[~inside_N], class_N[~inside_N], num_classes, values)
        log_p_NVC[inside_N] = score_clips(head, clips.features_NVD[inside_N])
    chosen_N = fold_N != NEVER_HELD
    return ScoredVideos(log_p_NVC[chosen_N], class_N[chosen_N], clips.select(chosen_N).instances)


def score_unknown(
    trainer: HeadTrainer,
    clips: LabelledClips,
    class_N: np.ndarray,
    fold_N: np.ndarray,
    num_classes: int,
    values: Hyperparameters,
    seed: int,
) -> list[ScoredVideos]:
    """For each fold of classes: a head without them and without a fold of groups scores both.

    Videos of the missing classes whose group the head has seen in another class are left out: a room or a person that
    it knows is no stranger. [] for fewer than three classes.
    """
    if num_classes < MIN_CLASSES_FOR_UNKNOWN:
        return []
    group_N, scored = np.array(name_groups(clips.instances)), []
    class_fold_C = assign_class_folds(num_classes, seed)
    group_folds = sorted({*fold_N.tolist()} - {NEVER_HELD})
    for class_fold in range(class_fold_C.max() + 1):
        is_missing_N = class_fold_C[class_N] == class_fold
        is_held_N = fold_N == group_folds[class_fold % len(group_folds)] if group_folds else np.zeros(len(fold_N), bool)
        train_N = ~is_missing_N & ~is_held_N
        number_C = np.where(class_fold_C == class_fold, -1, (class_fold_C != class_fold).cumsum() - 1)
        rest_N = np.where(is_missing_N, ~np.isin(group_N, group_N[train_N]), is_held_N)
        if not rest_N.any() or len({*class_N[train_N].tolist()}) < 2:
            continue
        head = trainer.fit(clips.features_NVD[train_N], number_C[class_N[train_N]], int(number_C.max()) + 1, values)
        log_p_nVC = score_clips(head, clips.features_NVD[rest_N])
        scored.append(ScoredVideos(log_p_nVC, number_C[class_N[rest_N]], clips.select(rest_N).instances))
    return scored


def score_clips(head: Head, clips_NVD: np.ndarray) -> np.ndarray:
    """Log-probabilities (N, V, C)."""
    num_videos, num_clips, width = clips_NVD.shape
    return head.score(clips_NVD.reshape(-1, width)).reshape(num_videos, num_clips, -1)
