"""two-stream: looks and motion, each learned by a contrast of its own, in one network.

Idea. A clip enters the network twice: as RGB frames, and as residual frames whose colours and amplitude were changed.
In the first stream two clips of a video, an interval apart, find each other by what they show (CVRL); in the second by
how it moves, also against intra-negatives, copies whose frames are in another order (IIC). `trio` contrasts RGB frames
with residual frames, so that both keep only what they have in common, which is motion; here each stream keeps its own.
In use the features of both stand side by side.

    L = NTXent(r, r') + NTXent(m, m') + intra
    NTXent(z, z') = -log softmax of z_i . z_i' / tau among the other clips of the batch, averaged over both directions
    intra         = -log softmax of m_i . m_i' / tau among the intra-negatives of the batch

r and m are the features of the two streams, of unit length. All clips of a step share one pass, so batch norm sees
both streams.

Source: our own; its parts are from Tao 2020 (IIC) and Qian 2021 (CVRL). Two streams: Simonyan and Zisserman 2014. The
still frame that is blended into the motion stream: Wang et al. 2021. docs/log.md has what was tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.losses.infonce import symmetric_infonce
from unreel.losses.negative_mask import NegativeMask
from unreel.methods.checks import require_temporal_clips, require_two_instances
from unreel.models.pooling import pool_views
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_streams import TwoStreamRecipe
from unreel.views.two_views import TwoViewOptions
from unreel.views.view_spec import ViewSpec


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of two-stream."""

    temperature: float = 0.07
    """tau."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""

    def recipe(self, spec: ViewSpec, seed: int, segments: int = 0) -> TwoStreamRecipe:
        """The function from batches of clips to the views of both streams."""
        return TwoStreamRecipe(spec, seed, self)

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings)
        if self.pairs == "one-clip":
            raise InputError(
                "--pairs one-clip gives a stream the same clip twice, which teaches nothing; set --pairs same-moment"
            )
        check_ranges(self, temperature=(1e-6, 1e6), exclude_neighbours_s=(0, 1e9))


def two_stream() -> tuple[Config, Settings]:
    """RGB and residual frames, each contrasted with itself; interval sampling, intra-negatives of motion."""
    config = Config(pairs="decreasing", second_view="residual", augment="blend", intra_negatives="shuffle-frames")
    return config, make_single_machine_settings()


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"two-stream": two_stream}


class Method(nn.Module):
    """The network; the negatives are the batch."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "looks1", "looks2", "motion1", "motion2" and, with intra-negatives, "intra"."""
        features = pool_views(self.backbone, views.tensors)
        with torch.autocast(views.index_B.device.type, enabled=False):
            z = {name: F.normalize(h_BD, dim=1) for name, h_BD in features.items()}
            return self.compute_loss(z, self.negative_mask.build_batch_mask(views.index_B))

    def compute_loss(self, z: dict[str, Tensor], allowed_BN: Tensor) -> StepOutput:
        """Sum of both streams' contrast; unit vectors (B, D) by view, and which clips may be negatives (B, N)."""
        tau = self.config.temperature
        looks, looks_top1 = symmetric_infonce(z["looks1"], z["looks2"], None, allowed_BN, tau)
        motion, motion_top1 = symmetric_infonce(z["motion1"], z["motion2"], z.get("intra"), allowed_BN, tau)
        logs = {"looks": looks.detach(), "motion": motion.detach()}
        return StepOutput(looks + motion, logs | {"looks_top1": looks_top1, "top1": motion_top1})

    def after_step(self) -> None:
        """This method keeps no state between steps."""
