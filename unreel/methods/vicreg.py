"""VICReg: two views agree, every dimension keeps its variance, and dimensions are decorrelated.

Idea. No negatives, no teacher, no normalisation: a hinge keeps the standard deviation of each dimension over the batch
above 1, and a penalty decorrelates the dimensions, so a collapse costs more than it saves.

    L = 25 mean (z - z')^2 + 25 mean_d max(0, 1 - std(z_d)) + 1 sum_{d != e} cov(z)_de^2 / D
    (the second term is the mean over the two views, the third their sum)

Source: Bardes, Ponce, LeCun 2022 (VICReg, arXiv 2105.04906), eq. 1 to 6.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from unreel.losses.vicreg import vicreg_loss
from unreel.methods.checks import reject_intra_negatives, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import pool_views
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of VICReg."""

    invariance: float = 25.0
    """Weight of the distance between the two views."""
    variance: float = 25.0
    """Weight of the hinge on the standard deviation of each dimension."""
    covariance: float = 1.0
    """Weight of the penalty on correlated dimensions."""
    head_width: int = 512
    """Width of the three layers of the head; the paper uses four times the features."""

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances, "has no variance")
        reject_intra_negatives(self, "VICReg")
        check_ranges(self, invariance=(0, 1e6), variance=(0, 1e6), covariance=(0, 1e6), head_width=(1, 65_536))


def vicreg() -> tuple[Config, Settings]:
    """VICReg on two clips of an instance, drawn independently."""
    return Config(pairs="independent", augment="cvrl", flip=True), make_single_machine_settings()


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"vicreg": vicreg}


class Method(nn.Module):
    """Network and head."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        width = config.head_width
        self.head = MLP(int(backbone.num_features), width, width, num_layers=3, batch_norm=True)  # type: ignore[arg-type]

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2", each (B, C, T, H, W)."""
        features = pool_views(self.backbone, views.tensors)
        with torch.autocast(views.index_B.device.type, enabled=False):
            a_BD, b_BD = self.head(torch.cat([features["view1"], features["view2"]])).chunk(2)
            c = self.config
            return StepOutput(vicreg_loss(a_BD, b_BD, c.invariance, c.variance, c.covariance), {})

    def after_step(self) -> None:
        """This method keeps no state between steps."""
