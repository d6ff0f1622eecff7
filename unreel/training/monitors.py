"""Label-free figures on held-out videos: does the encoder learn, has it collapsed, which checkpoint is best.

The moments of each held-out video are embedded as in use (joint views, unit length). From its first and last:

    same-video R@1, MRR    does a clip find the other clip of its own video among those of all videos? (percent, 0 to 1)
    alignment              mean squared distance of the two clips of a video (0 to 4, lower is closer)
    uniformity             log mean exp(-2 d^2) over pairs of videos (0 when all are one point, lower is better)
    effective rank         exp of the entropy of the singular values of the centred embeddings (1 to D)

A colour histogram finds the other clip better than any encoder, so a high same-video figure is no success. These are
tests of another kind (label_free/scores.py), percent of comparisons won, 50 by guessing:

    moment                 the same moment in other looks, against other moments of the same video
    order                  a moment played, against its frozen, shuffled and reversed copies
    far clip               the other end of the video in other looks, against that of other videos

Source: Wang & Isola 2020 (alignment, uniformity); Garrido 2023 (RankMe; ours centres first, since features after a
ReLU share a large mean).
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from unreel.embedding import join_views
from unreel.errors import NonFiniteError
from unreel.io.text import parse_json
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER, POINTER_FILE
from unreel.models.encoder.encoder import Encoder
from unreel.training.label_free.moments import MAX_TESTED_VIDEOS, VideoMoments
from unreel.training.label_free.scores import (
    CLIPS_PER_VIDEO,
    FAR_CLIP,
    MOMENT,
    ORDER,
    Embed,
    MomentVectors,
    embed_moments,
    score_tests,
)

# Below either, the embeddings hardly distinguish videos.
MIN_EFFECTIVE_RANK, MIN_SPREAD = 2.0, 1e-5
MAX_FEATURE = 1e18  # the square of a larger number is no float32 number
DIVERGED = "the run has diverged; start again with a lower --lr"


@dataclass(frozen=True)
class MonitorMetrics:
    """Label-free figures of an encoder on `num_videos` videos; see the module's docstring."""

    num_videos: int
    same_video_r1: float
    same_video_mrr: float
    alignment: float
    uniformity: float
    effective_rank: float
    spread: float
    moment: float = float("nan")
    order: float = float("nan")
    far_clip: float = float("nan")

    @property
    def mean_of_tests(self) -> float:
        """The mean of moment, order and far clip; of all monitors it ranks checkpoints most as labels do.

        Spearman's correlation with R@1 is 0.79 over 56 checkpoints of five methods (docs/results.md).
        """
        return (self.moment + self.order + self.far_clip) / 3

    @property
    def has_collapsed(self) -> bool:
        """True when the embeddings are a point or a line."""
        return self.spread < MIN_SPREAD or (self.num_videos > 4 and self.effective_rank < MIN_EFFECTIVE_RANK)


def rate_checkpoint(monitors: MonitorMetrics, step: int, total_steps: int) -> float | None:
    """The rating of a checkpoint: the best of a run is the one with the highest, and of equal ones the last.

    None for one that is never chosen: collapsed, or before the last quarter of the run. Where the tests can't be
    measured, e.g. on videos of one clip, all are equal.
    """
    if monitors.has_collapsed or not is_late(step, total_steps):
        return None
    return -1.0 if math.isnan(monitors.mean_of_tests) else monitors.mean_of_tests


def is_late(step: int, total_steps: int) -> bool:
    """Whether a step lies in the last quarter of a run.

    >>> is_late(74, 100), is_late(75, 100)
    (False, True)
    """
    return 4 * step >= 3 * total_steps


def read_first_and_best(run_folder: Path) -> list[tuple[str, dict[str, str]]]:
    """Rows of monitors.csv to compare: before training, and the best (else the last) checkpoint."""
    table, pointer = run_folder / "monitors.csv", run_folder / CHECKPOINTS_FOLDER / POINTER_FILE
    text = table.read_text(encoding="utf-8", errors="replace") if table.exists() else ""
    rows = [row for row in csv.DictReader(text.splitlines()) if (row.get("step") or "").isdigit()]
    if not rows:
        return []
    best_step = parse_json(pointer.read_text()).get("best_step")
    best = next((row for row in rows if int(row["step"]) == best_step), rows[-1])
    return [("at step 0", rows[0]), (f"trained, step {best['step']}", best)]


def compare_with_start(run_folder: Path) -> tuple[float, float] | None:
    """`Monitors.mean_of_tests` before training and of the best (else the last) checkpoint; None where one is open."""
    rows = [row for _, row in read_first_and_best(run_folder)]
    try:
        start, trained = (sum(float(row[name]) for name in ("moment", "order", "far_clip")) / 3 for row in rows)
    except (ValueError, KeyError, TypeError):
        return None
    return None if math.isnan(start + trained) else (start, trained)


def build_embed(encoder: Encoder) -> Embed:
    """Unit vectors of clips by an encoder, all views joined.

    It raises NonFiniteError for features larger than MAX_FEATURE.
    """

    def embed(clips: np.ndarray) -> np.ndarray:
        features = encoder.extract_parts(torch.from_numpy(clips))
        parts = {name: rows.float().cpu().numpy() for name, rows in features.items()}
        largest = max(float(np.abs(rows).max()) for rows in parts.values())
        if largest > MAX_FEATURE:
            raise NonFiniteError(f"features have grown to {largest:.1g}: {DIVERGED}")
        return join_views(parts)

    return embed


def evaluate_monitors(encoder: Encoder, videos: Iterable[VideoMoments]) -> MonitorMetrics | None:
    """Monitors of an encoder; None when fewer than two videos are long enough for two different clips.

    Raises NonFiniteError when the embeddings are not finite.
    """
    embed = build_embed(encoder)
    ends, tested = list[np.ndarray](), list[MomentVectors]()
    for moments in videos:
        if moments.is_tested:
            tested += embed_moments(moments, encoder.spec, [embed])
        ends.append(tested[-1].plain_KD[[0, -1]] if moments.is_tested else embed(moments.clips[[0, -1]]))
    if not all(np.isfinite(pair_2D).all() for pair_2D in ends):
        raise NonFiniteError(f"the embeddings are not finite: {DIVERGED}")
    if len(ends) < 2:
        return None
    metrics = compute_monitors(np.stack(ends).astype(np.float64))
    scores = {name: compute_mean(values_N) for name, values_N in score_tests(tested).items()}
    return replace(metrics, moment=scores[MOMENT], order=scores[ORDER], far_clip=scores[FAR_CLIP])


def count_monitor_clips(num_videos: int) -> int:
    """How many clips the monitors embed of so many videos, at most."""
    num_tested = min(num_videos, MAX_TESTED_VIDEOS)
    return CLIPS_PER_VIDEO * num_tested + 2 * (num_videos - num_tested)


def compute_mean(values_N: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN where there are none."""
    measured = values_N[~np.isnan(values_N)]
    return float(measured.mean()) if len(measured) else float("nan")


def compute_monitors(z_NVD: np.ndarray) -> MonitorMetrics:
    """Figures of unit-length embeddings (N, 2, D): two clips of each of N videos."""
    first_ND, second_ND = z_NVD[:, 0], z_NVD[:, 1]
    ranks = np.concatenate([rank_positives(first_ND @ second_ND.T), rank_positives(second_ND @ first_ND.T)])
    flat = z_NVD.reshape(-1, z_NVD.shape[-1])
    centred = flat - flat.mean(axis=0)
    return MonitorMetrics(
        num_videos=len(z_NVD),
        same_video_r1=100 * float((ranks == 1).mean()),
        same_video_mrr=float((1 / ranks).mean()),
        alignment=float(((first_ND - second_ND) ** 2).sum(axis=1).mean()),
        uniformity=compute_uniformity(first_ND),
        effective_rank=compute_effective_rank(centred),
        spread=float((centred**2).sum(axis=1).mean()),
    )


def rank_positives(similarity_NN: np.ndarray) -> np.ndarray:
    """Rank (1 is best) of the diagonal in each row; a tie counts against it."""
    own = np.diag(similarity_NN)[:, None]
    return (similarity_NN >= own).sum(axis=1)


def compute_uniformity(z_ND: np.ndarray) -> float:
    """log mean exp(-2 |zi - zj|^2) over pairs i < j."""
    distance_NN = 2 - 2 * z_ND @ z_ND.T
    pairs = distance_NN[np.triu_indices(len(z_ND), k=1)]
    return float(np.log(np.exp(-2 * pairs).mean()))


def compute_effective_rank(z_ND: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values; 1 for a line or a point."""
    values = np.linalg.svd(z_ND, compute_uv=False)
    total = values.sum()
    if total <= 0:
        return 1.0
    p = values[values > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))
