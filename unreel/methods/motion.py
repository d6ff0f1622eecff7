"""motion: two clips of a video find each other by how things move; one view, one contrast, no head. The default.

Idea. Residual frames show what changes from one frame to the next. Two clips of a video, an interval apart (CVRL), are
cut out at other places and sizes, their colours and contrast changed, and a still frame of the clip blended in, which
scales the residual frames: how strong an edge is tells nothing either. What is left to find the other clip by is how
things move. A step has two passes for each video where `trio` has three, so equal minutes give more steps. The network
`tiny` begins with the encoder that comes with unreel (`--init none`: with random weights, as other methods do).

    z = normalise(f(view))
    L = -log softmax of z_i . z_i' / tau among the other clips of the batch, averaged over both directions

Source: our own; interval sampling is from Qian 2021 (CVRL), residual frames as the only view from Tao 2020 (IICv2),
the still frame from Wang et al. 2021. Options are those of all methods (`--intra-negatives shuffle-frames`,
`--first-view rgb`, `--augment crop`); docs/results.md has what it gives, docs/log.md what was tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.losses.infonce import symmetric_infonce
from unreel.losses.negative_mask import NegativeMask
from unreel.methods.checks import require_temporal_clips, require_two_instances
from unreel.models.pooling import pool_views
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.network import AUTO_WEIGHTS
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of motion."""

    temperature: float = 0.07
    """tau."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings)
        check_ranges(self, temperature=(1e-6, 1e6), exclude_neighbours_s=(0, 1e9))


def motion() -> tuple[Config, Settings]:
    """Residual frames of two clips an interval apart, contrasted within the batch."""
    config = Config(pairs="decreasing", first_view="residual", second_view="residual", augment="blend")
    return config, make_single_machine_settings(init=AUTO_WEIGHTS)


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"motion": motion}


class Method(nn.Module):
    """The network; the negatives are the batch."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2" and, with intra-negatives, "intra", each (B, C, T, H, W)."""
        features = pool_views(self.backbone, views.tensors)
        with torch.autocast(views.index_B.device.type, enabled=False):
            z = {name: F.normalize(h_BD, dim=1) for name, h_BD in features.items()}
            return self.compute_loss(z, self.negative_mask.build_batch_mask(views.index_B))

    def compute_loss(self, z: dict[str, Tensor], allowed_BN: Tensor) -> StepOutput:
        """Each clip finds the other; unit vectors (B, D) by view, and which clips may be negatives (B, N)."""
        loss, top1 = symmetric_infonce(z["view1"], z["view2"], z.get("intra"), allowed_BN, self.config.temperature)
        return StepOutput(loss, {"top1": top1})

    def after_step(self) -> None:
        """This method keeps no state between steps."""
