"""Label-free figures on held-out videos: does the encoder learn, has it collapsed, which checkpoint is best.

Two clips of each held-out video, its first and its last, are embedded as in use (joint views, unit length):

    same-video R@1, MRR    does a clip find the other clip of its own video among those of all videos? (percent, 0 to 1)
    alignment              mean squared distance of the two clips of a video (0 to 4, lower is closer)
    uniformity             log mean exp(-2 d^2) over pairs of videos (0 when all are one point, lower is better)
    effective rank         exp of the entropy of the singular values of the centred embeddings (1 to D)

Source: Wang & Isola 2020 (alignment, uniformity); Garrido 2023 (RankMe; ours centres first, since features after a
ReLU share a large mean). The best checkpoint is, of those in the last quarter of the run that have not collapsed, the
one with the highest same-video MRR, the later one on a tie. Earlier checkpoints are excluded because appearance alone
finds the other clip: an untrained network does that best of all (step 0 is measured to show it).
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.embedding import encode, join_views
from unreel.errors import NonFiniteError
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER, POINTER_FILE
from unreel.models.encoder.encoder import Encoder
from unreel.types import Instance

# Below either, the embeddings hardly distinguish videos.
MIN_EFFECTIVE_RANK, MIN_SPREAD = 2.0, 1e-5


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

    @property
    def has_collapsed(self) -> bool:
        """True when the embeddings are a point or a line."""
        return self.spread < MIN_SPREAD or (self.num_videos > 4 and self.effective_rank < MIN_EFFECTIVE_RANK)


def read_untrained_and_best(run_folder: Path) -> list[tuple[str, dict[str, str]]]:
    """Rows of monitors.csv to compare: the untrained network, and the best (else the last) checkpoint."""
    table, pointer = run_folder / "monitors.csv", run_folder / CHECKPOINTS_FOLDER / POINTER_FILE
    rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    if not rows:
        return []
    best_step = json.loads(pointer.read_text())["best_step"]
    best = next((row for row in rows if int(row["step"]) == best_step), rows[-1])
    return [("untrained", rows[0]), (f"trained, step {best['step']}", best)]


def evaluate_monitors(encoder: Encoder, videos: Sequence[Instance]) -> MonitorMetrics | None:
    """Monitors of an encoder; None when fewer than two videos are long enough for two different clips.

    Raises NonFiniteError when the embeddings are not finite.
    """
    pairs = []
    for item in encode(encoder, videos, num_clips=2):
        if not np.array_equal(item.spans_s[0], item.spans_s[1]):
            pairs.append(join_views(item.features))
    if not all(np.isfinite(pair).all() for pair in pairs):
        raise NonFiniteError("the embeddings are not finite: the run has diverged; start again with a lower --lr")
    return compute_monitors(np.stack(pairs).astype(np.float64)) if len(pairs) > 1 else None


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
