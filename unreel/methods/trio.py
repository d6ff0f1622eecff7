"""trio: what the three papers agree on, in one loss; for footage of one's own and one machine. The default.

Idea. Two clips of a moment's neighbourhood, drawn an interval apart, must find each other among the other videos of the
batch (CVRL). Beside them stand copies whose time is broken, in the batch and with gradient, so that looks alone do not
suffice (IIC). One view is RGB, the other residual frames, and no batch is needed that does not fit on one device. With
`--rank-weight 0.5` each segment of a clip must also find itself in a shuffled copy of the clip (Dual): that costs two
more clips of every three, and at equal arithmetic it did not pay, so it is off.

    L = inter + intra + w rank, each averaged over both directions (the ranking over view 1)
    inter = -log softmax of z_i . z_i' / tau among the other clips of the batch
    intra = -log softmax of z_i . z_i' / tau among the broken clips of the batch
    rank  = mean of log(1 + exp((s.s- - s.s+) / theta)) over segments of a clip and of its shuffled copy

Source: our own; its parts are from Tao 2020 (IIC), Qian 2021 (CVRL) and Zhang 2021 (Dual). Each part is an option, to
be changed (`--intra-negatives none`, `--rank-weight 0.5`, `--pairs same-moment`); what was tried is in docs/log.md,
what each part gives in docs/results.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.losses.all_gather import all_gather_no_grad
from unreel.losses.infonce import symmetric_infonce
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.shuffle_rank import clip_shuffle_rank_loss
from unreel.methods.checks import require_temporal_clips, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import pool_views
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions, TwoViewRecipe
from unreel.views.view_spec import ViewSpec


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of trio."""

    rank_weight: float = 0.0
    """Weight w of the ranking of segments, e.g. 0.5; 0 leaves it out, and the two passes it costs."""
    segments: int = 2
    """Segments of a clip that are ranked; must divide its frames."""
    theta: float = 0.05
    """Softness of the ranking's margin."""
    temperature: float = 0.07
    """tau."""
    head: Literal["none", "mlp"] = "none"
    """Compare pooled features, or a two-layer projection of them to 128 that is dropped afterwards."""
    exclude_neighbours_s: float = 0.0
    """Keep segments of the same recording that begin within so many seconds out of the negatives."""

    def recipe(self, spec: ViewSpec, seed: int, segments: int = 0) -> TwoViewRecipe:
        """A shuffled clip only where it is ranked."""
        return super().recipe(spec, seed, self.segments if self.rank_weight else 0)

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings, self.rank_weight > 0)
        check_ranges(self, rank_weight=(0, 1e6), segments=(2, 64), theta=(1e-6, 1e6), temperature=(1e-6, 1e6))
        check_ranges(self, exclude_neighbours_s=(0, 1e9))
        if self.rank_weight and settings.num_frames % self.segments:
            raise InputError(
                f"--segments {self.segments} does not divide a clip of {settings.num_frames} frames; "
                "change --segments or --num-frames, or leave the ranking out with --rank-weight 0"
            )


def trio() -> tuple[Config, Settings]:
    """Interval sampling and broken clips in one loss, RGB against residual frames; shuffle-rank as an option."""
    config = Config(pairs="decreasing", second_view="residual", intra_negatives="shuffle-frames")
    return config, make_single_machine_settings()


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"trio": trio}


class Method(nn.Module):
    """Network and heads; the negatives are the batch."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        features = int(backbone.num_features)  # type: ignore[arg-type]
        self.head = MLP(features, features, 128) if config.head == "mlp" else nn.Identity()
        self.series = MLP(features, features, 64 * config.segments) if config.rank_weight else None
        self.neighbours = NegativeMask(instances, config.exclude_neighbours_s)

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
        """Each view finds the other among the batch, and among the broken clips."""
        z = {n: F.normalize(self.head(h), dim=1) for n, h in features.items() if n in ("view1", "view2", "intra")}
        allowed_BN = self.neighbours.build_mask(index_B, all_gather_no_grad(index_B))
        loss, found = symmetric_infonce(z["view1"], z["view2"], z.get("intra"), allowed_BN, self.config.temperature)
        return StepOutput(loss, {"top1": found})

    def compute_rank_loss(self, features: dict[str, Tensor], views: Views) -> Tensor:
        """Shuffle-rank of clip 1, and of clip 1 again, against the shuffled clip put back in order."""
        assert self.series is not None and views.segment_order_BS is not None
        shape = (-1, self.config.segments, 64)
        q, again, shuffled = (
            F.normalize(self.series(features[n]).view(shape), dim=2) for n in ("view1", "again", "shuffled")
        )
        return clip_shuffle_rank_loss(q, again, shuffled, views.segment_order_BS, self.config.theta)

    def after_step(self) -> None:
        """Nothing is remembered."""
