"""IIC: inter-intra contrastive learning.

Idea. Two views of one clip (RGB, and residual frames or flow) must find each other among other videos (*inter*) and
among copies of the same clip whose time is broken (*intra*): one frame repeated, or frames shuffled. Appearance alone
can't tell a clip from its broken copy, so the network has to look at motion.

    z1 = f(view 1), z2 = f(view 2), n = f(broken view 1); memory banks M1, M2, Mneg keep a running z1, z2, n of each
    instance i.  L = CE(z1 . [M2[i]; M2[others]; Mneg[i, others]] / tau, 0)
                   + CE(z2 . [M1[i]; M1[others]; Mneg[i, others]] / tau, 0)

Source: Tao, Wang, Yamasaki 2020 (arXiv 2008.02531), figure 3; arithmetic of the release, BestJuly/IIC, in METHODS 1.4.
Without intra-negatives this is contrastive multiview coding with one shared network (Tian 2020).

`iic-paper` keeps the released arithmetic. `iic` is our default; each difference is a field of `Config`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.losses.contrast import nce_log_constant, nce_loss, softmax_loss
from unreel.losses.memory_bank import MemoryBank
from unreel.models.heads import ProjectionMLP
from unreel.settings import Settings
from unreel.types import Instance, StepOutput, Views
from unreel.video.order import uniforms
from unreel.views.recipe import TwoViewRecipe, ViewSpec
from unreel.views.residual import Residual


@dataclass(frozen=True)
class Config:
    """Options of IIC."""

    intra_negatives: Literal["repeat", "shuffle", "shuffle-frames", "rotate", "none"] = "repeat"
    """How time is broken: one frame repeated, two of four chunks swapped (the code), or all frames permuted (the
    paper's figure); rotate turns the picture instead; none is contrastive multiview coding."""
    first_view: Literal["rgb", "residual", "flow-u", "flow-v"] = "rgb"
    """View 1, the one that is broken into the intra-negative: RGB, residual frames or one component of optical flow."""
    second_view: Literal["residual", "flow-u", "flow-v", "rgb"] = "residual"
    """View 2."""
    residual: Residual = Residual("forward", "lead-in", True)  # noqa: RUF009  # frozen, so safe as a default
    """Residual frames: sign, what stands before the first frame, and whether (r + 1) / 2; kept in the checkpoint."""
    loss: Literal["softmax", "nce"] = "softmax"
    """Cross-entropy over the candidates, or binary noise-contrastive estimation."""
    num_negatives: int = 1024
    """K, other instances drawn from memory for each anchor."""
    temperature: float = 0.07
    """tau."""
    memory_momentum: float = 0.5
    """Share of the old row when memory is refreshed."""
    normalize: bool = True
    """Compare unit-length embeddings. The release compares raw ones, so that scores are some 180 times a cosine."""
    exclude_self: bool = True
    """Never draw the own instance as a negative (the release does for 10 % of UCF101's anchors)."""
    exclude_neighbours_s: float = 0.0
    """Keep segments of the same recording that begin within so many seconds out of the negatives."""
    positives: Literal["memory", "batch"] = "memory"
    """The positive is the other view's row in memory (an epoch old, random at first), or the other view of this batch
    with gradient; then the other instances of the batch are negatives too, or fresh and stale would tell them apart."""
    intra_source: Literal["memory", "batch"] = "memory"
    """Intra-negatives are rows of memory without gradient, or this batch's broken clips with gradient."""
    intra_softmax: Literal["shared", "own"] = "shared"
    """Intra-negatives stand in one softmax with the other instances, or in a softmax of their own with the positive."""
    head: Literal["none", "mlp"] = "none"
    """Compare pooled features, or a two-layer projection of them to 128 that is dropped afterwards."""
    batch_norm: Literal["separate", "joint"] = "separate"
    """One forward pass per view, each with its own batch statistics, or all views in one pass with common ones."""
    augment: Literal["crop", "color"] = "crop"
    """Random crop alone, or crop, colour jitter, grey and blur (IICv2 without the flip)."""
    two_clips: bool = False
    """Take the views from two clips of the instance drawn apart instead of one."""
    standardize: bool = False
    """Subtract ImageNet's mean from RGB and divide by its deviation."""


def iic() -> tuple[Config, Settings]:
    """Our default: the paper's idea without the traps of its release; what the changes gave is in docs/results.md.

    Two clips of an instance drawn apart, so that place and moment are no shortcut; the other view and the broken clips
    of the batch itself, with gradient, instead of rows an epoch old; one set of batch statistics for all views; and a
    softmax of their own for the broken clips, which are few beside the other instances.
    """
    config = Config(
        intra_negatives="shuffle-frames",
        positives="batch",
        intra_source="batch",
        intra_softmax="own",
        batch_norm="joint",
        two_clips=True,
    )
    settings = Settings(
        num_frames=0,
        fps=12.5,
        stride_frames=0,
        epochs=200,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
    )
    return config, settings


def iic_paper() -> tuple[Config, Settings]:
    """The released arithmetic: 16 frames of 112 x 112, R3D, 240 epochs, SGD 0.01 dropped by 5 four times.

    unreel pretrain UCF101 --method iic-paper --out RUN. The paper reports R@1 36.5 (joint) on UCF101 split 1.
    """
    config = Config(
        residual=Residual("forward", "wrap", True),
        normalize=False,
        exclude_self=False,
    )
    return config, Settings(backbone="r3d", size=112, precision="32-true", seed=632)


PRESETS: dict[str, Callable[[], tuple[Config, Settings]]] = {"iic": iic, "iic-paper": iic_paper}


PAIR = ("view1", "view2")


class Negatives(NamedTuple):
    """Rows of memory for each anchor: its own (B, 1), other instances (B, K); and which of K and of the batch count."""

    own_B1: Tensor
    others_BK: Tensor
    kept_BK: Tensor
    kept_BB: Tensor


class Method(nn.Module):
    """The network, its head and the memory banks of IIC."""

    nce_log_z: Tensor
    video_N: Tensor
    start_s_N: Tensor

    def __init__(self, backbone: nn.Module, instances: Sequence[Instance], config: Config, seed: int) -> None:
        super().__init__()
        check(config, len(instances))
        self.config, self.seed, self.num_rows = config, seed, len(instances)
        self.backbone = backbone
        features = int(backbone.num_features)  # type: ignore[arg-type]
        self.head = ProjectionMLP(features, features, 128) if config.head == "mlp" else nn.Identity()
        width = 128 if config.head == "mlp" else features
        names = ["view1", "view2"] + (["intra"] if config.intra_negatives != "none" else [])
        self.banks = nn.ModuleDict({n: MemoryBank(self.num_rows, width, seed + k) for k, n in enumerate(names)})
        self.register_buffer("nce_log_z", torch.full((2, 2), torch.inf))  # not known before the first batch
        self.register_buffer("video_N", torch.tensor([i.video for i in instances]), persistent=False)
        self.register_buffer("start_s_N", torch.tensor([i.start_s for i in instances]), persistent=False)
        self._pending: tuple[Tensor, dict[str, Tensor]] | None = None

    @staticmethod
    def view_spec(config: Config, settings: Settings) -> ViewSpec:
        return ViewSpec((config.first_view, config.second_view), settings.size, config.residual, config.standardize)

    @staticmethod
    def recipe(spec: ViewSpec, config: Config, seed: int) -> TwoViewRecipe:
        return TwoViewRecipe(spec, seed, config.intra_negatives, config.augment, config.two_clips)

    def forward(self, views: Views) -> StepOutput:
        """Loss of one batch of views "view1", "view2" (and "intra"), each (B, C, T, H, W)."""
        z = self.embed(views.tensors)
        self._pending = (views.index_B, {name: z_BD.detach() for name, z_BD in z.items()})
        with torch.autocast(views.index_B.device.type, enabled=False):  # scores over 0.07 need all their digits
            return self.compare(z, self.negatives(views))

    def compare(self, z: dict[str, Tensor], drawn: Negatives) -> StepOutput:
        """Each view against its candidates; the two losses are added, as in the release."""
        inter, intra = zip(
            *(self.candidates(z[a], z[b], self.bank(b), z.get("intra"), drawn) for a, b in (PAIR, PAIR[::-1])),
            strict=True,
        )
        loss = self.loss(inter[0], intra[0], 0) + self.loss(inter[1], intra[1], 1)
        own = [beside(*scores) for scores in zip(inter, intra, strict=True)]
        return StepOutput(loss, {"top1_inter": top1(*inter), "top1_intra": top1(*own)})

    @torch.no_grad()
    def after_step(self) -> None:
        """Refresh the rows of this batch; called once the optimiser has stepped, so a refused step leaves no trace."""
        if self._pending is None:
            return
        index_B, z = self._pending
        for name in self.banks:
            self.bank(name).update(index_B, z[name].float(), self.config.memory_momentum)
        self._pending = None

    def bank(self, name: str) -> MemoryBank:
        return cast(MemoryBank, self.banks[name])

    def embed(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embeddings (B, D) of each view. Broken clips carry gradient only when they are compared with it."""
        with_grad = [n for n in tensors if n != "intra" or self.config.intra_source == "batch"]
        if self.config.batch_norm == "joint":
            z = self.project(torch.cat([tensors[n] for n in with_grad]))
            out = dict(zip(with_grad, z.chunk(len(with_grad)), strict=True))
        else:
            out = {n: self.project(tensors[n]) for n in with_grad}
        with torch.no_grad():
            out |= {n: self.project(tensors[n]) for n in tensors if n not in with_grad}
        return out

    def project(self, clips: Tensor) -> Tensor:
        """Backbone, global average pool, head and (an option) unit length: (B, C, T, H, W) to (B, D)."""
        map_BDTHW = self.backbone(clips)
        with torch.autocast(clips.device.type, enabled=False):
            pooled_BD = (map_BDTHW.float() if map_BDTHW.dtype == torch.bfloat16 else map_BDTHW).mean(dim=(2, 3, 4))
            z_BD = self.head(pooled_BD)
        return F.normalize(z_BD, dim=1) if self.config.normalize else z_BD

    def negatives(self, views: Views) -> Negatives:
        """Rows of other instances for each anchor.

        With `exclude_self`, all others once when there are no more than K, else K drawn from the others.
        """
        own_B1, n, k = views.index_B[:, None], self.num_rows, self.config.num_negatives
        if self.config.exclude_self and n - 1 <= k:
            shift_BK = torch.arange(n - 1, device=own_B1.device).expand(len(own_B1), -1)
        else:
            u_BK = uniforms(self.seed, views.epoch, views.index_B, "negatives", k).double()  # on the CPU: MPS has none
            shift_BK = (u_BK * (n - int(self.config.exclude_self))).long().to(own_B1.device)
        others_BK = (own_B1 + 1 + shift_BK) % n if self.config.exclude_self else shift_BK
        same_BB = own_B1 == views.index_B
        kept_BB = self.far_enough(views, views.index_B.expand(len(own_B1), -1)) | same_BB
        return Negatives(own_B1, others_BK, self.far_enough(views, others_BK), kept_BB)

    def far_enough(self, views: Views, others_BK: Tensor) -> Tensor:
        """False where the row is a neighbour in time of the anchor in the same recording."""
        near_s = self.config.exclude_neighbours_s
        if near_s <= 0:
            return torch.ones_like(others_BK, dtype=torch.bool)
        same_BK = self.video_N[others_BK] == views.video_B[:, None]
        return ~(same_BK & ((self.start_s_N[others_BK] - views.start_s_B[:, None]).abs() < near_s))

    def candidates(
        self, a_BD: Tensor, other_BD: Tensor, bank: MemoryBank, broken_BD: Tensor | None, drawn: Negatives
    ) -> tuple[Tensor, Tensor]:
        """Scores of an anchor with its positive (column 0) and other instances, and with broken clips; (B, K) each."""
        if self.config.positives == "memory":
            positive = bank.scores(a_BD, drawn.own_B1)
        else:
            positive = own_first((a_BD @ other_BD.T).masked_fill(~drawn.kept_BB, -torch.inf))
        others = bank.scores(a_BD, drawn.others_BK).masked_fill(~drawn.kept_BK, -torch.inf)
        inter_BK = torch.cat([positive, others], dim=1).float()
        if broken_BD is None:
            return inter_BK, inter_BK[:, :0]
        if self.config.intra_source == "batch":
            return inter_BK, (a_BD @ broken_BD.T).masked_fill(~drawn.kept_BB, -torch.inf).float()
        memory = self.bank("intra")
        others = memory.scores(a_BD, drawn.others_BK).masked_fill(~drawn.kept_BK, -torch.inf)
        return inter_BK, torch.cat([memory.scores(a_BD, drawn.own_B1), others], dim=1).float()

    def loss(self, inter_BK: Tensor, intra_BK: Tensor, which: int) -> Tensor:
        """One choice among all candidates, or one among each kind with the positive in both."""
        if self.config.intra_softmax == "own" and intra_BK.shape[1]:
            return self.choice(inter_BK, which, 0) + self.choice(beside(inter_BK, intra_BK), which, 1)
        return self.choice(torch.cat([inter_BK, intra_BK], dim=1), which, 0)

    def choice(self, scores_BK: Tensor, which: int, kind: int) -> Tensor:
        """Softmax or NCE; NCE's constant is fixed at its first sight."""
        tau = self.config.temperature
        if self.config.loss == "softmax":
            return softmax_loss(scores_BK, tau)
        if self.nce_log_z[which, kind].isinf():
            self.nce_log_z[which, kind] = nce_log_constant(scores_BK, tau, self.num_rows)
        return nce_loss(scores_BK, tau, self.nce_log_z[which, kind], self.num_rows)


def own_first(scores_BB: Tensor) -> Tensor:
    """The diagonal of a square of scores as column 0, the rest of each row after it; (B, B)."""
    size = len(scores_BB)
    shift_BB = (torch.arange(size)[:, None] + torch.arange(size)) % size
    return scores_BB.gather(1, shift_BB.to(scores_BB.device))


def beside(inter_BK: Tensor, intra_BK: Tensor) -> Tensor:
    """The positive (column 0 of the first) and the intra-negatives."""
    return torch.cat([inter_BK[:, :1], intra_BK], dim=1)


def top1(*scores: Tensor) -> Tensor:
    """Share of anchors that score their positive highest."""
    return torch.cat([(s.argmax(dim=1) == 0).float() for s in scores]).mean().detach()


def check(config: Config, num_instances: int) -> None:
    """Refuse what can't work, before the first step."""
    if num_instances < 2:
        raise InputError(
            f"contrast needs at least 2 instances to train on, got {num_instances}; add videos or lower --segment-s"
        )
    if config.first_view == config.second_view and not config.two_clips:
        raise InputError(
            f"--second-view {config.second_view} is the same tensor as view 1 unless the clips differ; add --two-clips"
        )
    ranges = {"num_negatives": (1, 10**7), "temperature": (1e-6, 1e6), "memory_momentum": (0, 1)}
    for name, (low, high) in (ranges | {"exclude_neighbours_s": (0, 1e9)}).items():
        if not low <= getattr(config, name) <= high:
            raise InputError(f"{name} must lie between {low} and {high}, got {getattr(config, name)}")
