"""CVRL: contrastive video representation learning; two clips of one video are the positives.

Idea. Two clips of a video are drawn an interval t apart, t ~ P(t): short intervals most often (`--pairs`,
`--interval-power`). Each is augmented strongly but *consistently*, with one draw for all its frames, so that motion
survives (`--no-consistent` is the ablation). InfoNCE over the global batch in both directions.

    z = normalise(g(f(clip))),  l(i) = -log( exp(z_i . z_i' / tau) / sum_{k != i} exp(z_i . z_k / tau) )
    L = mean over the first clips of l + mean over the second clips of l

Source: Qian et al. 2021 (CVRL, arXiv 2008.03800), with its figure of P(t); arithmetic of tensorflow/models video_ssl,
docs/methods.md. Intra-negatives (an option, not in the paper) have a softmax of their own with the positive.

Where we deviate: `cvrl` has a smaller network and batch, AdamW, and operations that it shares with other methods
(docs/methods.md). `cvrl-paper` has the release's augmentation, padding, first weights, head and schedule. What still
differs is a table there: crops are cut from frames already resized to 8/7 of the size in height and 4/3 of that in
width, and keep fractions of a grey level; an epoch has full batches only; gradients are averaged over processes, not
summed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.losses.infonce import symmetric_infonce
from unreel.losses.negative_mask import NegativeMask
from unreel.methods.checks import require_temporal_clips, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import count_features, pool_views
from unreel.settings import Settings, make_paper_settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of CVRL."""

    temperature: float = 0.1
    """tau."""
    head_layers: int = 3
    """Hidden layers of the head, each as wide as the features, with batch norm; the last layer gives 128."""
    head_style: Literal["pytorch", "tensorflow"] = "pytorch"
    """First weights of the head, and how slowly its batch norm averages: PyTorch's, or those of the release (Glorot's
    uniform weights, biases 0, momentum 0.003)."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""

    def check(self, settings: Settings, num_instances: int) -> None:
        require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings)
        check_ranges(self, temperature=(1e-6, 1e6), head_layers=(0, 10), exclude_neighbours_s=(0, 1e9))


def cvrl() -> tuple[Config, Settings]:
    """Two clips an interval apart, strong augmentation that is constant over a clip; sized for one machine."""
    return make_paper_config(), make_single_machine_settings()


def cvrl_paper() -> tuple[Config, Settings]:
    """The release: R3D-50, 16 frames of 224 x 224 at stride 2, 1024 whole videos per batch, 800 epochs.

    Augmentation, padding, first weights and schedule are TensorFlow's. The release sums gradients over its replicas
    where others average, so its rate of 0.32 acts like 0.32 times the number of replicas: sweep --lr from 0.3 to 10
    before you trust a comparison. The paper reports 66.1 % linear top-1 on Kinetics-400. On one GPU, 1024 clips of
    224 x 224 need --clips-at-once, or lower --batch-size.
    """
    return replace(make_paper_config(), augment="cvrl-paper", head_style="tensorflow"), make_release_settings(800)


def cvrl_paper_200() -> tuple[Config, Settings]:
    """cvrl-paper for 200 epochs, as in the paper's ablations: 63.8 % linear top-1 on Kinetics-400."""
    return cvrl_paper()[0], make_release_settings(200)


def make_release_settings(epochs: int) -> Settings:
    """The settings of the release, for 200 or 800 epochs; 5 of them are warm-up in either case."""
    return make_paper_settings(
        backbone="r3d50tf",
        size=224,
        stride_frames=2,
        batch_size=1024,
        epochs=epochs,
        lr=0.32,
        weight_decay=1e-6,
        decay_all=False,
        schedule="cosine-from-start",
        warmup_epochs=5,
    )


def make_paper_config() -> Config:
    """Decreasing P(t) and the released augmentation."""
    return Config(pairs="decreasing", augment="cvrl", flip=True, asymmetric=True)


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {
    "cvrl": cvrl,
    "cvrl-paper": cvrl_paper,
    "cvrl-paper-200": cvrl_paper_200,
}


class Method(nn.Module):
    """Network and head; the negatives are the global batch."""

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        width = count_features(backbone)
        self.head = MLP(width, width, 128, num_layers=config.head_layers + 1, batch_norm=True)
        if config.head_style == "tensorflow":
            begin_like_tensorflow(self.head)
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2" (and "intra"), each (B, C, T, H, W)."""
        features = pool_views(self.backbone, views.tensors)
        with torch.autocast(views.index_B.device.type, enabled=False):
            z_VD = F.normalize(self.head(torch.cat(list(features.values()))), dim=1)
            z = dict(zip(features, z_VD.chunk(len(features)), strict=True))
            return self.compute_loss(z, views.index_B)

    def compute_loss(self, z: dict[str, Tensor], index_B: Tensor) -> StepOutput:
        """InfoNCE in both directions; the sum of the two, as in the release."""
        allowed_BN = self.negative_mask.build_batch_mask(index_B)
        loss, top1 = symmetric_infonce(z["view1"], z["view2"], z.get("intra"), allowed_BN, self.config.temperature)
        return StepOutput(2 * loss, {"top1": top1})

    def after_step(self) -> None:
        """This method keeps no state between steps."""


def begin_like_tensorflow(head: nn.Module) -> None:
    """First weights of Keras' dense layers; batch norm of momentum 0.997 as TensorFlow counts it."""
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d):
            module.momentum = 0.003
