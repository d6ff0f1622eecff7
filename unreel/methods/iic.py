"""IIC: inter-intra contrastive learning.

Idea. Two views of one clip (RGB, and residual frames or flow) must find each other among other videos (*inter*) and
among intra-negatives (*intra*), copies of the clip whose time is destroyed: one frame repeated, or frames shuffled.
Appearance alone can't tell a clip from such a copy, so the network has to use motion.

    z1 = f(view 1), z2 = f(view 2), n = f(intra-negative); memory banks M1, M2, Mneg keep a running z1, z2, n of each
    instance i.  L = CE(z1 . [M2[i]; M2[others]; Mneg[i, others]] / tau, 0)
                   + CE(z2 . [M1[i]; M1[others]; Mneg[i, others]] / tau, 0)

Source: Tao, Wang, Yamasaki 2020 (arXiv 2008.02531), figure 3; arithmetic of the release (docs/methods.md).
IICv2: Tao, Wang, Yamasaki 2022; BestJuly/IICv2: two residual clips drawn independently, a head, rotation as a
third kind of intra-negative. Without intra-negatives this is contrastive multiview coding with one shared network
(`cmc`, Tian 2020). `iic-paper` and `iic-v2` keep the released arithmetic; `iic` is ours, and each difference is a
field of `Config`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.losses.all_gather import all_gather_no_grad
from unreel.losses.infonce import infonce_loss, top1_accuracy
from unreel.losses.memory_bank import MemoryBank
from unreel.losses.nce import estimate_nce_log_z, nce_loss
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.similarity import score_intra_negatives, score_pairs
from unreel.methods.checks import require_temporal_clips, require_two_instances
from unreel.models.heads import MLP
from unreel.models.pooling import count_features, pool_features, pool_views
from unreel.seeding import draw_uniforms
from unreel.settings import Settings, make_paper_settings, make_single_machine_settings
from unreel.settings.ranges import check_ranges
from unreel.types import Instance, StepOutput, Views
from unreel.views.random_apply import to_device_of
from unreel.views.residual_frames import ResidualSpec
from unreel.views.two_views import TwoViewOptions


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of IIC."""

    loss: Literal["softmax", "nce"] = "softmax"
    """Cross-entropy over the candidates, or binary noise-contrastive estimation."""
    num_negatives: int = 1024
    """K, the negatives drawn from memory for each anchor; 0 for those of the batch alone. Where positives are of this
    batch, rows of memory differ from them by their age too, so a network that only changes from step to step tells
    them apart (docs/results.md)."""
    temperature: float = 0.07
    """tau."""
    memory_momentum: float = 0.5
    """Share of the old row that remains when memory is updated."""
    normalize: bool = True
    """Compare embeddings of unit length. The release compares raw ones, so its scores are about 180 times a cosine."""
    exclude_self: bool = True
    """Never draw the anchor's own instance as a negative (the release does for 10 % of the anchors of UCF101)."""
    exclude_neighbours_s: float = 0.0
    """Segments of the same recording that begin within this many seconds are not used as negatives."""
    positives: Literal["memory", "batch"] = "memory"
    """The positive is the row of the other view in memory (an epoch old, random at first), or the other view of this
    batch with gradient. In the second case the other instances of the batch are negatives too; else the positive would
    be recognised by being the only fresh candidate."""
    intra_source: Literal["memory", "batch"] = "memory"
    """Intra-negatives are rows of memory without gradient, or those of this batch with gradient."""
    intra_softmax: Literal["shared", "own"] = "shared"
    """Intra-negatives share a softmax with the other instances, or have one of their own with the positive."""
    head: Literal["none", "mlp"] = "none"
    """Compare pooled features, or a two-layer projection of them to 128, which is dropped after training."""
    batch_norm: Literal["separate", "joint"] = "separate"
    """One forward pass per view, each with its own batch statistics, or one pass of all views with shared ones."""

    @property
    def remembers_instances(self) -> bool:
        """Whether a clip is compared with what its instance was an epoch ago."""
        return "memory" in (self.positives, self.intra_source)

    def check(self, settings: Settings, num_instances: int) -> None:
        if self.positives == "batch" or num_instances < 2:  # with memory a batch of one has negatives
            require_two_instances(settings, num_instances)
        require_temporal_clips(self, settings)
        check_ranges(self, num_negatives=(int(self.remembers_instances), 10**7), temperature=(1e-6, 1e6))
        check_ranges(self, memory_momentum=(0, 1), exclude_neighbours_s=(0, 1e9))


def iic() -> tuple[Config, Settings]:
    """Inter-intra contrast without the pitfalls of the release.

    Two clips of an instance are drawn independently, so that position and time are no shortcut; the other view, the
    other instances and the intra-negatives are those of the batch, with gradient, instead of rows an epoch old; all
    views share one set of batch statistics; and the intra-negatives have a softmax of their own. Results are in
    docs/results.md.
    """
    config = Config(
        pairs="independent",
        second_view="residual",
        intra_negatives="shuffle-frames",
        num_negatives=0,
        positives="batch",
        intra_source="batch",
        intra_softmax="own",
        batch_norm="joint",
    )
    return config, make_single_machine_settings()


def iic_paper() -> tuple[Config, Settings]:
    """The released arithmetic: 16 frames of 112 x 112, R3D, 240 epochs, SGD 0.01 dropped by 5 four times.

    All videos, each whole, have a row of memory each. With --draws-per-video, the draws of a video in a batch update
    its row once, with their mean.
    unreel pretrain UCF101 --method iic-paper --out RUN. The release's README: R@1 36.5 (joint) on UCF101 split 1.
    """
    config = Config(
        pairs="one-clip",
        second_view="residual",
        intra_negatives="repeat",
        residual=ResidualSpec("forward", "wrap", True),
        normalize=False,
        exclude_self=False,
    )
    return config, make_paper_settings(backbone="r3d", size=112, precision="32-true", seed=632)


def iic_v2() -> tuple[Config, Settings]:
    """The release of IICv2: two residual clips drawn independently, colour jitter, a head, SGD 0.1 with a cosine.

    The intra-negative is made from residual frames of clip 1, also with --first-view rgb; shuffle is its default,
    repeat, rotate and rotate-90 the others.
    Source: Tao, Wang, Yamasaki 2022 (IICv2).
    """
    config = Config(
        pairs="independent",
        first_view="residual",
        second_view="residual",
        intra_negatives="shuffle",
        intra_view="residual",
        residual=ResidualSpec("forward", "wrap", False),
        standardize=True,
        augment="color",
        flip=True,
        head="mlp",
        exclude_self=False,
    )
    settings = {"backbone": "r3d", "size": 112, "precision": "32-true", "lr": 0.1, "schedule": "cosine", "seed": 632}
    return config, make_paper_settings(**settings)


def cmc() -> tuple[Config, Settings]:
    """iic-paper without intra-negatives: contrastive multiview coding with one shared network.

    Source: Tian et al. 2020 (CMC).
    """
    config, settings = iic_paper()
    return replace(config, intra_negatives="none"), settings


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {
    "iic": iic,
    "iic-paper": iic_paper,
    "iic-v2": iic_v2,
    "cmc": cmc,
}


class NegativeRows(NamedTuple):
    """Rows of memory for each anchor: its own (B, 1) and others (B, K); and which of those and of the batch count."""

    own_B1: Tensor
    others_BK: Tensor
    allowed_BK: Tensor
    allowed_BN: Tensor


class Method(nn.Module):
    """The network, its head and the memory banks of IIC."""

    nce_log_z: Tensor

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        self.config, self.seed, self.num_rows = config, seed, len(instances)
        self.backbone = backbone
        features = count_features(backbone)
        self.head = MLP(features, features, 128) if config.head == "mlp" else nn.Identity()
        width = 128 if config.head == "mlp" else features
        names = ["view1", "view2"] + (["intra"] if config.intra_negatives != "none" else [])
        names = names if config.num_negatives else []
        self.banks = nn.ModuleDict({n: MemoryBank(self.num_rows, width, seed + k) for k, n in enumerate(names)})
        self.negative_mask = NegativeMask(instances, config.exclude_neighbours_s)
        self.register_buffer("nce_log_z", torch.full((2, 2), torch.inf))  # unknown before the first batch
        self._pending_rows: tuple[Tensor, dict[str, Tensor]] | None = None

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2" (and "intra"), each (B, C, T, H, W)."""
        z = self.embed_views(views.tensors)
        self._pending_rows = (views.index_B, {name: z_BD.detach() for name, z_BD in z.items()})
        with torch.autocast(views.index_B.device.type, enabled=False):  # scores / 0.07 need full precision
            return self.compute_loss(z, self.draw_negatives(views))

    def compute_loss(self, z: dict[str, Tensor], negatives: NegativeRows) -> StepOutput:
        """Each view against its candidates; the sum of the two losses, as in the release."""
        directions = (("view1", "view2"), ("view2", "view1"))
        scores = [
            self.score_candidates(z[anchor], z[other], other, z.get("intra"), negatives) for anchor, other in directions
        ]
        loss = self.compute_view_loss(*scores[0], 0) + self.compute_view_loss(*scores[1], 1)
        top1_inter = top1_accuracy(*(inter_BK for inter_BK, _ in scores))
        top1_intra = top1_accuracy(*(join_positive_and_intra(*pair) for pair in scores))
        return StepOutput(loss, {"top1_inter": top1_inter, "top1_intra": top1_intra})

    @torch.no_grad()
    def after_step(self) -> None:
        """Update the rows of this batch, only after the step of the optimiser: a skipped step changes nothing."""
        if self._pending_rows is None:
            return
        index_B, z = self._pending_rows
        index_N = all_gather_no_grad(index_B)
        for name in self.banks:
            rows_ND = all_gather_no_grad(z[name].float())
            self.get_bank(name).update(index_N, rows_ND, self.config.memory_momentum)
        self._pending_rows = None

    def get_bank(self, name: str) -> MemoryBank:
        return cast(MemoryBank, self.banks[name])

    def embed_views(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embeddings (B, D) of each view. Intra-negatives get gradient only with `intra_source` batch."""
        with_grad = {n: v for n, v in tensors.items() if n != "intra" or self.config.intra_source == "batch"}
        z = self.project_features(pool_views(self.backbone, with_grad, joint=self.config.batch_norm == "joint"))
        with torch.no_grad():
            return z | self.project_features(
                {n: pool_features(self.backbone, v) for n, v in tensors.items() if n not in with_grad}
            )

    def project_features(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Head and (optional) normalisation of pooled features, (B, D) to (B, 128) or (B, D)."""
        if not features:
            return {}
        with torch.autocast(next(iter(features.values())).device.type, enabled=False):
            z = {name: self.head(h_BD) for name, h_BD in features.items()}
        return {name: F.normalize(z_BD, dim=1) for name, z_BD in z.items()} if self.config.normalize else z

    def draw_negatives(self, views: Views) -> NegativeRows:
        """Rows of other instances for each anchor: K drawn at random, or each once if there are at most K.

        Without `exclude_self`, always K drawn from all instances.
        """
        own_B1, n, k = views.index_B[:, None], self.num_rows, self.config.num_negatives
        if self.config.exclude_self and n - 1 <= k:
            shift_BK = torch.arange(n - 1, device=own_B1.device).expand(len(own_B1), -1)
        else:
            u_BK = draw_uniforms(
                self.seed, views.epoch, views.rng_index_B, "negatives", k
            ).double()  # on the CPU, MPS has none
            shift_BK = to_device_of((u_BK * (n - int(self.config.exclude_self))).long(), own_B1)
        others_BK = (own_B1 + 1 + shift_BK) % n if self.config.exclude_self else shift_BK
        allowed_BK = self.negative_mask.build_mask(views.index_B, others_BK) | (others_BK == own_B1)
        allowed_BN = self.negative_mask.build_batch_mask(views.index_B)
        return NegativeRows(own_B1, others_BK, allowed_BK, allowed_BN)

    def score_candidates(
        self, a_BD: Tensor, other_BD: Tensor, other: str, intra_BD: Tensor | None, negatives: NegativeRows
    ) -> tuple[Tensor, Tensor]:
        """Scores of anchors with the positive (column 0) and other instances, and with intra-negatives; (B, K) each.

        `other` is the name of the other view.
        """
        if self.config.positives == "memory":
            inter_BK = self.get_bank(other).score_rows(a_BD, negatives.own_B1)
        else:
            inter_BK = score_pairs(a_BD, other_BD, negatives.allowed_BN, include_same_view=False)
        if self.config.num_negatives:
            others_BK = self.get_bank(other).score_rows(a_BD, negatives.others_BK)
            inter_BK = torch.cat([inter_BK, others_BK.masked_fill(~negatives.allowed_BK, -torch.inf)], dim=1)
        inter_BK = inter_BK.float()
        if intra_BD is None:
            return inter_BK, inter_BK[:, :0]
        if self.config.intra_source == "batch":
            return inter_BK, score_intra_negatives(a_BD, intra_BD, negatives.allowed_BN).float()
        memory = self.get_bank("intra")
        others = memory.score_rows(a_BD, negatives.others_BK).masked_fill(~negatives.allowed_BK, -torch.inf)
        return inter_BK, torch.cat([memory.score_rows(a_BD, negatives.own_B1), others], dim=1).float()

    def compute_view_loss(self, inter_BK: Tensor, intra_BK: Tensor, view_index: int) -> Tensor:
        """One softmax over all candidates, or one for each kind of negative, with the positive in both."""
        if self.config.intra_softmax == "own" and intra_BK.shape[1]:
            return self.softmax_or_nce_loss(inter_BK, view_index, 0) + self.softmax_or_nce_loss(
                join_positive_and_intra(inter_BK, intra_BK), view_index, 1
            )
        return self.softmax_or_nce_loss(torch.cat([inter_BK, intra_BK], dim=1), view_index, 0)

    def softmax_or_nce_loss(self, scores_BK: Tensor, view_index: int, softmax_index: int) -> Tensor:
        """InfoNCE or NCE; the constant of NCE is fixed on the first batch."""
        tau = self.config.temperature
        if self.config.loss == "softmax":
            return infonce_loss(scores_BK, tau)
        estimate = estimate_nce_log_z(all_gather_no_grad(scores_BK), tau, self.num_rows)
        known = self.nce_log_z[view_index, softmax_index]
        self.nce_log_z[view_index, softmax_index] = torch.where(known.isinf(), estimate, known)
        return nce_loss(scores_BK, tau, self.nce_log_z[view_index, softmax_index], self.num_rows)


def join_positive_and_intra(inter_BK: Tensor, intra_BK: Tensor) -> Tensor:
    """Scores of the positive (column 0 of `inter_BK`) and of the intra-negatives; (B, 1 + K)."""
    return torch.cat([inter_BK[:, :1], intra_BK], dim=1)
