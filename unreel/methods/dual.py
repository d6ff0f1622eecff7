"""Dual: contrast between clips, and ranking of the segments inside a clip.

Idea. Besides an embedding c of the clip the network gives a short *series* s_1..s_S, one vector for each of S segments.
Between videos (*inter*), clips of a video find each other, by c and by their series. Inside a video (*intra*), the clip
is shown again with its segments shuffled: each segment must be nearer to itself in the other version than to any other
segment, so the network has to know what happens when.

    L = NTXent(c, c') + NTXent(mean_s s, mean_s s') + 0.5 rank(s of clip 1, s of the shuffled clip)
                                                    + 0.5 rank(s of clip 1 again, s of the shuffled clip)
    rank(q, p) = mean over v in {q_1..q_S, p_1..p_S} and negatives of log(1 + exp((v.v- - v.v+) / theta))

Source: Zhang et al. 2021 (arXiv 2107.01194); the released code can't run, so the arithmetic is our reading of
it. The segment vectors are slices of a projection of the *pooled* clip, without a pass per segment: only the ranking
makes slice s stand for segment s.

Where we deviate: frames are 128 high and 171 wide (the release transposes the two by mistake) and resized bilinearly
(the release: bicubic); hue rotates in YIQ; gradient flows through the gathering of batches, and both contrasts have the
same weight (the release drops part of one and scales the other by 1/8 on its 8 GPUs). In `dual` and `dual-moco` a clip
never leaves the video, no exponent is limited (which also removes the gradient of the worst violations), all clips
share one set of batch statistics, and the teacher of the queue is that of moco.py. `dual-paper` and `dual-moco-paper`
do as the release there; what still differs is a table in docs/methods.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.losses.infonce import infonce_with_intra_negatives, top1_accuracy
from unreel.losses.key_queue import KeyQueue
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.shuffle_rank import average_segments, clip_shuffle_rank_loss
from unreel.losses.similarity import score_intra_negatives, score_pairs
from unreel.methods.checks import (
    check_queue_size,
    check_segments,
    require_equal_views,
    require_temporal_clips,
    require_two_instances,
)
from unreel.models.heads import MLP
from unreel.models.pooling import count_features, pool_features, pool_views
from unreel.models.teacher import Teacher
from unreel.settings import Settings, make_paper_settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions, TwoViewRecipe
from unreel.views.view_spec import ViewSpec


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of Dual."""

    framework: Literal["in-batch", "queue"] = "in-batch"
    """Source of the negatives: the batch (SimCLR), or a queue of keys from a slow teacher (MoCo)."""
    segments: int = 2
    """S, segments of a clip; must divide its frames."""
    segment_width: int = 64
    """Width of the vector of a segment."""
    series: bool = True
    """Contrast the series as well (the temporally coherent term)."""
    shuffle_rank: bool = True
    """Rank the segments of a clip against its shuffled version."""
    theta: float = 0.05
    """Softness of the margin of the ranking."""
    max_exponent: float = 0.0
    """Limit of the exponent of the ranking (5 in the SimCLR version of the release); 0 means no limit."""
    temperature: float = 0.07
    """tau of both contrasts."""
    queue_size: int = 1024
    """Older keys to contrast with, for the framework `queue`; a multiple of the batch. 16384 in the release."""
    teacher_momentum: float = 0.99
    """Share of the old teacher that remains after each step; 0.999 in the release."""
    queue_style: Literal["moco", "release"] = "moco"
    """release: older keys of a video stay its negatives, the teacher averages weights from the first step on and uses
    the statistics of its batch, and the queue of series begins with means of unit vectors. moco: as moco.py."""
    batch_norm: Literal["joint", "release"] = "joint"
    """All clips pass through the network together, or as in the release: the shuffled clip apart from the others; with
    a queue, clip 1 apart from clip 1 again and its shuffled version."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""

    def recipe(self, spec: ViewSpec, seed: int, segments: int = 0) -> TwoViewRecipe:
        """Makes the shuffled clip only if it is ranked."""
        return super().recipe(spec, seed, self.segments if self.shuffle_rank else 0)

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings, self.shuffle_rank)
        check_ranges(self, segments=(2, 64), segment_width=(1, 4096), theta=(1e-6, 1e6), temperature=(1e-6, 1e6))
        check_ranges(self, max_exponent=(0, 1e6), teacher_momentum=(0, 1), exclude_neighbours_s=(0, 1e9))
        if self.shuffle_rank:
            check_segments(self.segments, settings)
        if self.framework == "queue":
            check_queue_size(self.queue_size, settings.batch_size)
            require_equal_views(self)


def dual() -> tuple[Config, Settings]:
    """Dual on the batch, sized for one machine."""
    return make_paper_config(), make_single_machine_settings()


def dual_moco() -> tuple[Config, Settings]:
    """Dual on a queue of keys from a slow teacher."""
    return Config(**vars(make_paper_config()) | {"framework": "queue"}), make_single_machine_settings()


def dual_paper() -> tuple[Config, Settings]:
    """The release: R(2+1)D, 16 frames of 112 x 112 at stride 4, batches of 64 whole videos, SGD 0.003, 200 epochs.

    The paper reports R@1 46.7 on UCF101 in its own protocol (centred, pooled features), not ours.
    """
    return replace(make_paper_config(), max_exponent=5.0, batch_norm="release"), make_release_settings()


def dual_moco_paper() -> tuple[Config, Settings]:
    """The release with queues of 16384 keys and a teacher of momentum 0.999; else as dual-paper.

    The exponent of its ranking is not limited. The paper reports 78.5 on UCF101 and 47.5 on HMDB51 after fine-tuning.
    """
    release = {"queue_size": 16384, "teacher_momentum": 0.999, "queue_style": "release", "batch_norm": "release"}
    return Config(**vars(make_paper_config()) | {"framework": "queue"} | release), make_release_settings()


def make_release_settings() -> Settings:
    """The settings of the release's scripts."""
    return make_paper_settings(
        backbone="r21d",
        size=112,
        stride_frames=4,
        short="border",
        precision="32-true",
        batch_size=64,
        epochs=200,
        lr=0.003,
        drops=(120 / 200, 160 / 200),
        drop_factor=0.1,
    )


def make_paper_config() -> Config:
    """Two clips anywhere in the video, reversed together half of the time, with strong jitter."""
    return Config(pairs="independent", augment="dual", time_reversal=0.5, standardize=True)


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {
    "dual": dual,
    "dual-moco": dual_moco,
    "dual-paper": dual_paper,
    "dual-moco-paper": dual_moco_paper,
}


class ClipAndSeriesHeads(nn.Module):
    """Two heads on pooled features: embedding of the clip (B, 128) and series (B, S, segment_width), of unit length."""

    def __init__(self, features: int, segments: int, segment_width: int, train_series: bool) -> None:
        super().__init__()
        self.shape = (segments, segment_width)
        self.clip = MLP(features, features, 128)
        self.series = MLP(features, features, segments * segment_width).requires_grad_(train_series)

    def forward(self, h_BD: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.clip(h_BD), dim=1), F.normalize(self.series(h_BD).view(-1, *self.shape), dim=2)


class KeyEncoder(nn.Module):
    """Network and heads, for the teacher."""

    def __init__(self, backbone: nn.Module, heads: nn.Module) -> None:
        super().__init__()
        self.backbone, self.heads = backbone, heads

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        h_BD = pool_features(self.backbone, clips)
        with torch.autocast(clips.device.type, enabled=False):
            return self.heads(h_BD)


class Method(nn.Module):
    """Network and heads; with the queue framework also their slow copy and two queues."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        features = count_features(backbone)
        train_series = config.series or config.shuffle_rank
        self.heads = ClipAndSeriesHeads(features, config.segments, config.segment_width, train_series)
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)
        self.teacher: Teacher | None = None
        if config.framework == "queue":
            key_encoder, is_released = KeyEncoder(backbone, self.heads), config.queue_style == "release"
            norm_mode: Literal["running", "batch"] = "batch" if is_released else "running"
            self.teacher = Teacher(key_encoder, config.teacher_momentum, norm_mode, warm_up=not is_released)
            size, width, segments = config.queue_size, config.segment_width, config.segments if is_released else 1
            self.clip_queue = KeyQueue(size, 128, seed, exclude_own=not is_released)
            self.series_queue = KeyQueue(size, width, seed + 1, segments, exclude_own=not is_released)
        self._pending_keys: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2" and, to be ranked, "again" and "shuffled"."""
        features: dict[str, Tensor] = {}
        for group in self.group_views(views):
            features |= pool_views(self.backbone, {n: views.tensors[n] for n in group})
        names = list(features)
        with torch.autocast(views.index_B.device.type, enabled=False):
            clip_VD, series_VSD = self.heads(torch.cat(list(features.values())))
            clip = dict(zip(names, clip_VD.chunk(len(names)), strict=True))
            series = dict(zip(names, series_VSD.chunk(len(names)), strict=True))
            contrast = self.contrast_in_batch if self.teacher is None else self.contrast_with_queue
            output = contrast(clip, series, views)
            if "shuffled" in series:
                rank = self.compute_rank_loss(series, views)
                output = StepOutput(output.loss + rank, output.logs | {"rank": rank.detach()})
        return output

    def group_views(self, views: Views) -> list[list[str]]:
        """Names of the views that share batch statistics; the key of a queue is the teacher's."""
        names = [n for n in views.tensors if n != "view2" or self.teacher is None]
        apart = ["shuffled"] if self.teacher is None else ["again", "shuffled"]
        if self.config.batch_norm == "joint":
            return [names]
        groups = [[n for n in names if n not in apart], [n for n in names if n in apart]]
        return [group for group in groups if group]

    def contrast_in_batch(self, clip: dict[str, Tensor], series: dict[str, Tensor], views: Views) -> StepOutput:
        """NT-Xent of the clips, and of their series."""
        allowed_BN = self.negative_mask.build_batch_mask(views.index_B)
        scores, losses = [], []
        for a, b in (("view1", "view2"), ("view2", "view1")):
            intra = score_intra_negatives(clip[a], clip["intra"], allowed_BN) if "intra" in clip else None
            scores.append(score_pairs(clip[a], clip[b], allowed_BN))
            losses.append(infonce_with_intra_negatives(scores[-1], intra, self.config.temperature))
            if self.config.series:
                series_scores = score_pairs(average_segments(series[a]), average_segments(series[b]), allowed_BN)
                losses.append(infonce_with_intra_negatives(series_scores, None, self.config.temperature))
        return StepOutput(torch.stack(losses).sum() / 2, {"top1": top1_accuracy(*scores)})

    def contrast_with_queue(self, clip: dict[str, Tensor], series: dict[str, Tensor], views: Views) -> StepOutput:
        """InfoNCE with the keys of the other clip and the keys of the two queues."""
        assert self.teacher is not None
        key_BD, key_BSD = self.teacher(views.tensors["view2"])
        key_mean_BD = average_segments(key_BSD)
        self._pending_keys = (key_BD, key_mean_BD, views.index_B)
        scores = self.clip_queue.score_positive_and_keys(clip["view1"], key_BD, self.negative_mask, views.index_B)
        intra = None
        if "intra" in clip:
            allowed_BN = self.negative_mask.build_batch_mask(views.index_B)
            intra = score_intra_negatives(clip["view1"], clip["intra"], allowed_BN)
        loss = infonce_with_intra_negatives(scores, intra, self.config.temperature)
        if self.config.series:
            series_scores = self.series_queue.score_positive_and_keys(
                average_segments(series["view1"]), key_mean_BD, self.negative_mask, views.index_B
            )
            loss = loss + infonce_with_intra_negatives(series_scores, None, self.config.temperature)
        return StepOutput(loss, {"top1": top1_accuracy(scores)})

    def compute_rank_loss(self, series: dict[str, Tensor], views: Views) -> Tensor:
        """Shuffle-rank of clip 1, and of clip 1 augmented again, against the shuffled clip put back in order."""
        assert views.segment_order_BS is not None
        limit = self.config.max_exponent or None
        clips = (series["view1"], series["again"], series["shuffled"])
        return clip_shuffle_rank_loss(*clips, views.segment_order_BS, self.config.theta, limit)

    def after_step(self) -> None:
        """Update the teacher and put the keys into the queues."""
        if self.teacher is None:
            return
        self.teacher.update(KeyEncoder(self.backbone, self.heads))
        if self._pending_keys is not None:
            self.clip_queue.enqueue(self._pending_keys[0], self._pending_keys[2])
            self.series_queue.enqueue(self._pending_keys[1], self._pending_keys[2])
        self._pending_keys = None
