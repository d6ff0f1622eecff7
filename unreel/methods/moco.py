"""MoCo: a query must find its key, from a slow copy of the network, among a queue of older keys.

Idea. The queue holds many more negatives than a batch, and the teacher changes so slowly that old keys stay comparable.
Version 2 contrasts with the queue; version 3 drops it, contrasts the keys of the batch in both directions and predicts
the key from the query with a small predictor.

    q = normalise(g(f(view1))), k = normalise(teacher(view2))
    L = -log( exp(q.k / tau) / (exp(q.k / tau) + sum_queue exp(q.k' / tau)) )
    teacher <- m teacher + (1 - m) network

Source: He et al. 2020 (MoCo), algorithm 1; Chen et al. 2020 (v2: the MLP head); Chen, Xie, He 2021 (v3: symmetric,
predictor, keys of the batch). Where we deviate: shuffled batch norm, which prevents a query from recognising its key by
shared statistics, is replaced by a teacher that uses running statistics (Cai et al. 2021, EMAN); older keys of the same
instance, many if the footage is small, are not used as negatives; m begins at 0 and rises to its value within
1 / (1 - m) steps (Tarvainen & Valpola 2017). `moco-v3` keeps v2's head of two layers without batch norm, its
temperature and its teacher with running statistics, and does not scale the loss by 2 tau.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.losses.infonce import infonce_with_intra_negatives, top1_accuracy
from unreel.losses.key_queue import KeyQueue
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.similarity import score_intra_negatives, score_pairs
from unreel.methods.checks import check_queue_size, require_equal_views, require_temporal_clips, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import count_features, pool_features, pool_views
from unreel.models.teacher import Teacher
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of MoCo."""

    queue_size: int = 1024
    """Older keys to contrast with; a multiple of the batch. 0: the keys of the batch, in both directions (v3)."""
    predictor: bool = False
    """Predict the key from the query with two more layers (v3)."""
    teacher_momentum: float = 0.99
    """Share of the old teacher that remains after each step; 0.999 for long runs."""
    teacher_norm: Literal["running", "batch"] = "running"
    """Batch norm of the teacher: running statistics, or those of its batch."""
    temperature: float = 0.1
    """tau."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings)
        check_ranges(self, temperature=(1e-6, 1e6), teacher_momentum=(0, 1), exclude_neighbours_s=(0, 1e9))
        if self.queue_size:
            check_queue_size(self.queue_size, settings.batch_size)
            require_equal_views(self)


def moco() -> tuple[Config, Settings]:
    """MoCo v2 on clips: a queue of keys from a slow copy of the network."""
    return Config(pairs="independent", augment="cvrl", flip=True), make_single_machine_settings()


def moco_v3() -> tuple[Config, Settings]:
    """MoCo v3 on clips: no queue, both directions, a predictor.

    Source: Chen, Xie, He 2021 (MoCo v3).
    """
    config = Config(pairs="independent", augment="cvrl", flip=True, queue_size=0, predictor=True)
    return config, make_single_machine_settings()


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"moco": moco, "moco-v3": moco_v3}


class Student(nn.Module):
    """Network and head: clips to unit-length keys."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, 128)."""
        features = pool_features(self.backbone, clips)
        with torch.autocast(clips.device.type, enabled=False):
            return F.normalize(self.head(features), dim=1)


class Method(nn.Module):
    """Network, head, their slow copy, and the queue."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        features = count_features(backbone)
        self.head = MLP(features, features, 128)
        self.predictor = MLP(128, features, 128, batch_norm=True) if config.predictor else nn.Identity()
        self.teacher = Teacher(Student(backbone, self.head), config.teacher_momentum, config.teacher_norm)
        self.queue = KeyQueue(config.queue_size, 128, seed) if config.queue_size else None
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)
        self._pending_keys: tuple[Tensor, Tensor] | None = None

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2" (and "intra"), each (B, C, T, H, W)."""
        queries = self.encode_queries({n: v for n, v in views.tensors.items() if n != "view2" or self.queue is None})
        keys = {n: self.teacher(views.tensors[n]) for n in (("view2",) if self.queue else ("view1", "view2"))}
        self._pending_keys = (keys["view2"], views.index_B)
        allowed_BN = self.negative_mask.build_batch_mask(views.index_B)
        losses, scores = [], []
        for a, b in (("view1", "view2"), ("view2", "view1")):
            if b not in keys:
                continue
            scores.append(self.score_queries(queries[a], keys[b], views.index_B, allowed_BN))
            intra = score_intra_negatives(queries[a], queries["intra"], allowed_BN) if "intra" in queries else None
            losses.append(infonce_with_intra_negatives(scores[-1], intra, self.config.temperature))
        return StepOutput(torch.stack(losses).sum(), {"top1": top1_accuracy(*scores)})

    def encode_queries(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Unit-length queries (B, 128) of each view, in one pass."""
        features = pool_views(self.backbone, views)
        with torch.autocast(next(iter(views.values())).device.type, enabled=False):
            z_VD = self.predictor(self.head(torch.cat(list(features.values()))))
            return dict(zip(features, F.normalize(z_VD, dim=1).chunk(len(features)), strict=True))

    def score_queries(self, q_BD: Tensor, k_BD: Tensor, index_B: Tensor, allowed_BN: Tensor) -> Tensor:
        """Scores of each query with its key (column 0) and the queue, or the other keys of the batch."""
        if self.queue is None:
            return score_pairs(q_BD, k_BD, allowed_BN, include_same_view=False)
        return self.queue.score_positive_and_keys(q_BD, k_BD, self.negative_mask, index_B)

    def after_step(self) -> None:
        """Update the teacher and put the keys into the queue."""
        self.teacher.update(Student(self.backbone, self.head))
        if self._pending_keys is not None and self.queue is not None:
            self.queue.enqueue(*self._pending_keys)
        self._pending_keys = None
