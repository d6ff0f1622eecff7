"""BYOL: predict the embedding that a slow copy of the network gives to the other view; no negatives.

Idea. A small predictor on top of the network predicts the teacher's embedding of the other view. Only the predictor,
the slow teacher and batch norm prevent a collapse, so watch the monitors.

    p = h(g(f(view))), z' = teacher(other view);  L = 2 - 2 cos(p, z'), summed over both directions
    teacher <- m teacher + (1 - m) network

Source: Grill et al. 2020 (BYOL, arXiv 2006.07733), eq. 2 and section 3; on clips drawn independently as
Feichtenhofer et al. 2021 (rho-BYOL). Where we deviate: m begins at 0, rises to its value within 1 / (1 - m) steps
instead of a cosine over the run, and stays there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unreel.losses.byol import byol_loss
from unreel.methods.checks import reject_intra_negatives, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import count_features, pool_features, pool_views
from unreel.models.teacher import Teacher
from unreel.settings import Settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of BYOL."""

    teacher_momentum: float = 0.99
    """Share of the old teacher that remains after each step; 0.996 and more for long runs."""
    teacher_norm: Literal["running", "batch"] = "batch"
    """Batch norm of the teacher: running statistics, or those of its batch (the paper)."""

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances, "gives the batch norm of the heads no statistics")
        reject_intra_negatives(self, "BYOL")
        check_ranges(self, teacher_momentum=(0, 1))


def byol() -> tuple[Config, Settings]:
    """BYOL on two clips of an instance, drawn independently."""
    return Config(pairs="independent", augment="cvrl", flip=True), make_single_machine_settings()


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"byol": byol}


class Student(nn.Module):
    """Network and projector: clips to embeddings (B, 256)."""

    def __init__(self, backbone: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.projector = backbone, projector

    def forward(self, clips: Tensor) -> Tensor:
        features = pool_features(self.backbone, clips)
        with torch.autocast(clips.device.type, enabled=False):
            return self.projector(features)


class Method(nn.Module):
    """Network, projector, predictor, and the slow copy of the first two."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        features = count_features(backbone)
        self.projector = MLP(features, 2 * features, 256, batch_norm=True)
        self.predictor = MLP(256, 2 * features, 256, batch_norm=True)
        self.teacher = Teacher(Student(backbone, self.projector), config.teacher_momentum, config.teacher_norm)

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2", each (B, C, T, H, W)."""
        features = pool_views(self.backbone, views.tensors)
        with torch.autocast(views.index_B.device.type, enabled=False):
            p_VD = self.predictor(self.projector(torch.cat([features["view1"], features["view2"]])))
        z_VD = self.teacher(torch.cat([views.tensors["view2"], views.tensors["view1"]]))
        return StepOutput(2 * byol_loss(p_VD, z_VD), {})

    def after_step(self) -> None:
        """Update the teacher."""
        self.teacher.update(Student(self.backbone, self.projector))
