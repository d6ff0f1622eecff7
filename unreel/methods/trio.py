"""trio: the ideas of three papers in one loss, for your own footage and one machine. The default.

Idea. Two clips of a video, an interval apart, must find each other among the other videos of the batch (CVRL).
Intra-negatives, copies whose time is destroyed, are in the batch too and carry gradient, so appearance alone does not
suffice (IIC). One view is RGB, the other residual frames. A batch that fits on one device is enough. With
`--rank-weight 0.5` each segment of a clip must also find itself in a shuffled copy of the clip (Dual). That needs two
more clips for every three and did not pay at equal cost, so it is off.

    L = inter + intra + w rank, each averaged over both directions (the ranking over view 1)
    inter = -log softmax of z_i . z_i' / tau among the other clips of the batch
    intra = -log softmax of z_i . z_i' / tau among the intra-negatives of the batch
    rank  = mean of log(1 + exp((s.s- - s.s+) / theta)) over segments of a clip and of its shuffled copy

Source: our own; its parts are from Tao 2020 (IIC), Qian 2021 (CVRL) and Zhang 2021 (Dual). Each part is an option
(`--intra-negatives none`, `--rank-weight 0.5`, `--pairs same-moment`); docs/results.md shows what each part gives,
docs/log.md what was tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.losses.infonce import symmetric_infonce
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.shuffle_rank import clip_shuffle_rank_loss
from unreel.methods.checks import check_segments, require_temporal_clips, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import count_features, pool_views
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions, TwoViewRecipe
from unreel.views.view_spec import ViewSpec


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of trio."""

    rank_weight: float = 0.0
    """Weight w of the ranking of segments, e.g. 0.5; 0 leaves it out, and saves two passes through the network."""
    segments: int = 2
    """Segments of a clip that are ranked; must divide its frames."""
    theta: float = 0.05
    """Softness of the margin of the ranking."""
    temperature: float = 0.07
    """tau."""
    head: Literal["none", "mlp"] = "none"
    """Compare pooled features, or a two-layer projection of them to 128 that is dropped afterwards."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""

    def recipe(self, spec: ViewSpec, seed: int, segments: int = 0) -> TwoViewRecipe:
        """Makes a shuffled clip only if it is ranked."""
        return super().recipe(spec, seed, self.segments if self.rank_weight else 0)

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings, self.rank_weight > 0)
        check_ranges(self, rank_weight=(0, 1e6), segments=(2, 64), theta=(1e-6, 1e6), temperature=(1e-6, 1e6))
        check_ranges(self, exclude_neighbours_s=(0, 1e9))
        if self.rank_weight:
            check_segments(self.segments, settings, ", or leave the ranking out with --rank-weight 0")


def trio() -> tuple[Config, Settings]:
    """Interval sampling and intra-negatives in one loss, RGB against residual frames; shuffle-rank as an option."""
    config = Config(pairs="decreasing", second_view="residual", intra_negatives="shuffle-frames")
    return config, make_single_machine_settings()


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"trio": trio}


class Method(nn.Module):
    """Network and heads; the negatives are the batch."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        features = count_features(backbone)
        self.head = MLP(features, features, 128) if config.head == "mlp" else nn.Identity()
        self.series = MLP(features, features, 64 * config.segments) if config.rank_weight else None
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2", "intra" and, to be ranked, "again" and "shuffled"."""
        features = pool_views(self.backbone, views.tensors)
        with torch.autocast(views.index_B.device.type, enabled=False):
            output = self.compute_contrast_loss(features, views.index_B)
            if self.series is None:
                return output
            rank = self.compute_rank_loss(features, views)
            return StepOutput(output.loss + self.config.rank_weight * rank, output.logs | {"rank": rank.detach()})

    def compute_contrast_loss(self, features: dict[str, Tensor], index_B: Tensor) -> StepOutput:
        """Each view finds the other among the batch and among the intra-negatives."""
        z = {n: F.normalize(self.head(h), dim=1) for n, h in features.items() if n in ("view1", "view2", "intra")}
        allowed_BN = self.negative_mask.build_batch_mask(index_B)
        loss, top1 = symmetric_infonce(z["view1"], z["view2"], z.get("intra"), allowed_BN, self.config.temperature)
        return StepOutput(loss, {"top1": top1})

    def compute_rank_loss(self, features: dict[str, Tensor], views: Views) -> Tensor:
        """Shuffle-rank of clip 1, and of clip 1 augmented again, against the shuffled clip put back in order."""
        assert self.series is not None and views.segment_order_BS is not None
        shape = (-1, self.config.segments, 64)
        q, again, shuffled = (
            F.normalize(self.series(features[n]).view(shape), dim=2) for n in ("view1", "again", "shuffled")
        )
        return clip_shuffle_rank_loss(q, again, shuffled, views.segment_order_BS, self.config.theta)

    def after_step(self) -> None:
        """This method keeps no state between steps."""
