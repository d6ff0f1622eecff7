"""SimCLR: two augmentations of the same moment must find each other among the rest of the batch.

Idea. The simplest framework: no memory, no teacher; the negatives are the other instances of the batch, so a larger
batch is a harder task. On clips it learns what a moment looks like; CVRL (cvrl.py) is the same contrast with clips at
different times.

    z = normalise(g(f(view)))
    L = - mean over the 2N views of log( exp(z_i . z_i' / tau) / sum_{k != i} exp(z_i . z_k / tau) )

Source: Chen et al. 2020 (SimCLR, arXiv 2002.05709), eq. 1; on frames, then inflated, the baseline of Qian et al. 2021
(CVRL, table 2). Intra-negatives (an option) have a softmax of their own with the positive.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.losses.infonce import symmetric_infonce
from unreel.losses.negative_mask import NegativeMask
from unreel.methods.checks import require_temporal_clips, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import count_features, pool_views
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of SimCLR."""

    temperature: float = 0.1
    """tau."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings)
        check_ranges(self, temperature=(1e-6, 1e6), exclude_neighbours_s=(0, 1e9))


def simclr() -> tuple[Config, Settings]:
    """Two augmentations of the same clip find each other in the batch."""
    return Config(pairs="same-moment", augment="cvrl", flip=True), make_single_machine_settings()


def simclr_frames() -> tuple[Config, Settings]:
    """SimCLR on single frames with the 2D twin of a network, to be inflated: the baseline of the CVRL paper.

    unreel pretrain FOLDER --method simclr-frames --out RUN2D; unreel inflate RUN2D --out RUN3D. RUN3D can be evaluated;
    --init RUN2D starts further training. Source: Qian et al. 2021 (CVRL), table 2.
    """
    settings = make_single_machine_settings(backbone="auto-2d", num_frames=1)
    return Config(pairs="same-moment", augment="cvrl", flip=True), settings


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"simclr": simclr, "simclr-frames": simclr_frames}


class Method(nn.Module):
    """Network and head; the negatives are the batch."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        features = count_features(backbone)
        self.head = MLP(features, features, 128)
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2" (and "intra"), each (B, C, T, H, W)."""
        features = pool_views(self.backbone, views.tensors)
        with torch.autocast(views.index_B.device.type, enabled=False):
            z = {name: F.normalize(self.head(h_BD), dim=1) for name, h_BD in features.items()}
            return self.compute_loss(z, views.index_B)

    def compute_loss(self, z: dict[str, Tensor], index_B: Tensor) -> StepOutput:
        """NT-Xent in both directions, with the intra-negatives of view 1 if there are any."""
        allowed_BN = self.negative_mask.build_batch_mask(index_B)
        loss, top1 = symmetric_infonce(z["view1"], z["view2"], z.get("intra"), allowed_BN, self.config.temperature)
        return StepOutput(loss, {"top1": top1})

    def after_step(self) -> None:
        """This method keeps no state between steps."""
