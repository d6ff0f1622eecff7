"""Attentive probe: a classifier that may choose where and when in the last feature map to look.

One learned query attends to all tokens of a clip (the positions of the frozen map), a linear layer judges what it
collects. Source: Yu et al. 2022 (CoCa), attentional pooling with one query; Bardes et al. 2024 (V-JEPA), attentive
probing. Where we deviate: no MLP or residual behind the attention, since the training lists here are small.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unreel.errors import InputError
from unreel.evaluation.baselines.trivial_baselines import UNTRAINED_ENCODER
from unreel.evaluation.feature_extraction import ENCODER, FeatureKey, VideoFeatures
from unreel.evaluation.probes.grid_search import (
    GridSearch,
    Hyperparameters,
    Scorer,
    find_layer_rows,
    protocol_to_json,
    run_grid_search,
)
from unreel.evaluation.protocols.linear_probe import WARMUP, SampleBatches, build_grid
from unreel.evaluation.result import Result
from unreel.settings import OptimisationSettings
from unreel.training.lr_schedule import compute_lr, set_lr

MAP_LAYER = "map"
CLIPS_PER_CHUNK = 256  # clips judged at a time


@dataclass(frozen=True)
class AttentiveProtocol:
    """Heads of the attention (at most; they divide the channels), training by AdamW and the grid to choose from."""

    heads: int = 8
    epochs: int = 20
    batch_size: int = 64
    lrs: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    weight_decays: tuple[float, ...] = (0.01, 0.1)
    validation_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"a seed is 0 or more, got {self.seed}")
        if min(self.heads, self.epochs, self.batch_size) < 1 or not (self.lrs and self.weight_decays):
            raise InputError("an attentive probe needs 1 head, epoch, batch, rate and decay, or more of each")


class AttentivePooling(nn.Module):
    """Tokens (B, L, C) to (B, C): one learned query, multi-head cross-attention.

    Scores are read by the keys' weights applied to the query once, and values are made of the tokens already averaged:
    the same numbers as keys and values of every token, for a fraction of the work. The keys' bias would cancel.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(f"{heads} heads do not divide {channels} channels; use {math.gcd(heads, channels)}")
        self.heads, self.head_width = heads, channels // heads
        self.query = nn.Parameter(torch.randn(channels) * channels**-0.5)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens_BLC: Tensor) -> Tensor:
        look_BLH = tokens_BLC @ self._project_query_CH()
        mean_BHC = look_BLH.softmax(dim=1).transpose(1, 2) @ tokens_BLC
        weight_HWC = self.value.weight.view(self.heads, self.head_width, -1)
        value_BC = torch.einsum("bhc,hwc->bhw", mean_BHC, weight_HWC).flatten(1) + self.value.bias
        return self.out(value_BC)

    def _project_query_CH(self) -> Tensor:
        """What each head looks for, in terms of tokens: its part of the query times its keys' weights."""
        query_HW, weight_HWC = self.query.view(self.heads, -1), self.key.weight.view(self.heads, self.head_width, -1)
        return torch.einsum("hw,hwc->ch", query_HW, weight_HWC) / math.sqrt(self.head_width)


class AttentiveProbe(nn.Module):
    """Tokens (B, L, C) to logits; each token is normalised first (its gain and bias would be the keys' and values')."""

    def __init__(self, channels: int, heads: int, num_classes: int) -> None:
        super().__init__()
        self.pool = AttentivePooling(channels, heads)
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, tokens_BLC: Tensor) -> Tensor:
        pooled_BC = self.pool(F.layer_norm(tokens_BLC, tokens_BLC.shape[2:]))
        return self.classifier(self.norm(pooled_BC))


class MapTokenizer:
    """Flattened maps (B, D) to tokens (B, L, C): each view's map is channels first, views follow one another."""

    def __init__(self, channels: int, view_width: int) -> None:
        """`width` is the numbers of one view's map, D of a row with one view."""
        if channels < 1 or view_width % channels:
            raise InputError(
                f"maps of {view_width} numbers can't have {channels} channels; say those of the last layer"
            )
        self.channels, self.view_width = channels, view_width

    def __call__(self, maps_BD: np.ndarray) -> Tensor:
        x_BD = torch.from_numpy(np.ascontiguousarray(maps_BD, np.float32))
        return x_BD.view(len(x_BD), -1, self.channels, self.view_width // self.channels).transpose(2, 3).flatten(1, 2)


def train_probe(
    train_NVD: np.ndarray,
    class_N: np.ndarray,
    num_classes: int,
    hyperparameters: Hyperparameters,
    tokenizer: MapTokenizer,
    protocol: AttentiveProtocol,
) -> AttentiveProbe:
    """AdamW with cosine and 5 % warm-up over all clips (N, V, D); weights and batches are a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(protocol.seed)
        probe = AttentiveProbe(tokenizer.channels, math.gcd(protocol.heads, tokenizer.channels), num_classes)
    optimizer = torch.optim.AdamW(
        probe.parameters(), lr=hyperparameters["lr"], weight_decay=hyperparameters["weight_decay"]
    )
    schedule = OptimisationSettings(lr=hyperparameters["lr"], schedule="cosine", warmup=WARMUP)
    views, batches = train_NVD.shape[1], SampleBatches(protocol.batch_size, protocol.seed)
    samples = len(train_NVD) * views
    for step, rows in enumerate(batches.iterate_batches(samples, protocol.epochs)):
        set_lr(optimizer, compute_lr(step, protocol.epochs * batches.count_batches(samples), schedule))
        video_B, view_B = np.divmod(rows.numpy(), views)
        loss = F.cross_entropy(probe(tokenizer(train_NVD[video_B, view_B])), torch.from_numpy(class_N[video_B]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return probe.eval()


@torch.no_grad()
def average_softmax(probe: AttentiveProbe, test_QVD: np.ndarray, tokenizer: MapTokenizer) -> np.ndarray:
    """Mean over the clips of each video of the softmax, float32 (Q, C)."""
    _, views, width = test_QVD.shape
    size, parts = max(1, CLIPS_PER_CHUNK // views), []
    for start in range(0, len(test_QVD), size):
        clips_QVD = test_QVD[start : start + size]
        found_BC = probe(tokenizer(clips_QVD.reshape(-1, width))).softmax(dim=1)
        parts.append(found_BC.view(len(clips_QVD), views, -1).mean(dim=1))
    return torch.cat(parts).numpy()


def build_attentive_scorer(protocol: AttentiveProtocol, num_classes: int, tokenizer: MapTokenizer) -> Scorer:
    """Trains one probe after the other for the points of the grid."""

    def scorer(
        train_NVD: np.ndarray, class_N: np.ndarray, asked_QVD: np.ndarray, grid: Sequence[Hyperparameters]
    ) -> np.ndarray:
        probes = (train_probe(train_NVD, class_N, num_classes, point, tokenizer, protocol) for point in grid)
        return np.stack([average_softmax(probe, asked_QVD, tokenizer) for probe in probes])

    return scorer


def evaluate_attentive(
    train: VideoFeatures, test: VideoFeatures, channels: int, protocol: AttentiveProtocol | None = None
) -> Result:
    """Top-1, top-5 and accuracy per class of an attentive probe on the maps of each view, and of all views' tokens.

    `channels` are those of the encoder's last layer; the untrained encoder is the only floor, since others have no map
    of its kind. Raises InputError when there is nothing to tell apart, no maps, or maps that have not these channels.
    """
    protocol = protocol or AttentiveProtocol()
    rows = find_layer_rows(train, test, MAP_LAYER)
    rows = {
        n: row for n, row in rows.items() if row[0].layer == MAP_LAYER and row[0].source in (ENCODER, UNTRAINED_ENCODER)
    }
    widths = {c.stop - c.start for c in train.columns[FeatureKey(ENCODER, MAP_LAYER)].values()}
    if len(widths) > 1:
        raise InputError(f"an attentive probe needs views with maps of one size, got {sorted(widths)} numbers")
    made, title = MapTokenizer(channels, widths.pop()), "Attentive probe, accuracy in percent"
    how = f"one query that attends to the tokens of frozen maps ({channels} channels), then one linear layer (AdamW)"
    scorer = build_attentive_scorer(protocol, len(set(train.labels)), made)
    grid = build_grid(protocol.lrs, protocol.weight_decays)
    search = GridSearch("attentive", title, how, scorer, grid, protocol.validation_share, protocol.seed)
    result = run_grid_search(train, test, rows, search)
    heads = math.gcd(protocol.heads, channels)
    result.protocol |= {
        **protocol_to_json(protocol),
        "kind": "attentive",
        "layer": MAP_LAYER,
        "channels": channels,
        "heads": heads,
    }
    return result
