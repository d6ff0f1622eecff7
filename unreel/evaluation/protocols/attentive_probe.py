"""Attentive probe: a classifier that learns where and when in the last feature map to attend.

One learned query attends to all tokens of a clip (the positions of the frozen map), then a linear layer classifies.
Source: Yu et al. 2022 (CoCa), attentional pooling with one query; Bardes et al. 2024 (V-JEPA), attentive probing.
Where we deviate: no MLP and no residual after the attention, since the training lists here are small.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from unreel.errors import InputError
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions, FeatureProtocol
from unreel.evaluation.probes.attentive_pooling import AttentiveProbe, MapTokenizer, average_attentive_softmax
from unreel.evaluation.probes.grid_search import GridSearch, Hyperparameters, Scorer, build_grid, run_grid_search
from unreel.evaluation.probes.sample_batches import WARMUP, SampleBatches
from unreel.evaluation.protocol_description import protocol_to_json
from unreel.evaluation.protocols.options import AttentiveOptions
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER, FeatureKey, VideoFeatures, find_layer_rows
from unreel.models.encoder.encoder import Encoder
from unreel.settings.optimisation import OptimisationSettings
from unreel.training.lr_schedule import compute_lr, set_lr

MAP_LAYER = "map"


@dataclass(frozen=True)
class AttentiveProtocol:
    """Attention heads (fewer where these do not divide the channels), AdamW training, and the grid to choose from."""

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
    num_clips, batches = train_NVD.shape[1], SampleBatches(protocol.batch_size, protocol.seed)
    num_samples = len(train_NVD) * num_clips
    for step, rows in enumerate(batches.iterate_batches(num_samples, protocol.epochs)):
        set_lr(optimizer, compute_lr(step, protocol.epochs * batches.count_batches(num_samples), schedule))
        video_B, clip_B = np.divmod(rows.numpy(), num_clips)
        loss = F.cross_entropy(probe(tokenizer(train_NVD[video_B, clip_B])), torch.from_numpy(class_N[video_B]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return probe.eval()


def build_attentive_scorer(protocol: AttentiveProtocol, num_classes: int, tokenizer: MapTokenizer) -> Scorer:
    """Trains one probe for each point of the grid, one after the other."""

    def score(
        train_NVD: np.ndarray, class_N: np.ndarray, test_QVD: np.ndarray, grid: Sequence[Hyperparameters]
    ) -> np.ndarray:
        probes = (train_probe(train_NVD, class_N, num_classes, point, tokenizer, protocol) for point in grid)
        return np.stack([average_attentive_softmax(probe, test_QVD, tokenizer) for probe in probes])

    return score


def evaluate_attentive(
    train: VideoFeatures, test: VideoFeatures, channels: int, protocol: AttentiveProtocol | None = None
) -> Result:
    """Top-1, top-5 and accuracy per class of an attentive probe on the maps of each view, and on all views' tokens.

    `channels` are those of the encoder's last layer; the untrained encoder is the only baseline, since others have no
    such map. Raises InputError for fewer than two classes, and for missing maps or maps of other channels.
    """
    protocol = protocol or AttentiveProtocol()
    rows = find_layer_rows(train, test, MAP_LAYER)
    rows = {
        n: row for n, row in rows.items() if row[0].layer == MAP_LAYER and row[0].source in (ENCODER, UNTRAINED_ENCODER)
    }
    widths = {c.stop - c.start for c in train.columns[FeatureKey(ENCODER, MAP_LAYER)].values()}
    if len(widths) > 1:
        raise InputError(f"an attentive probe needs views with maps of one size, got {sorted(widths)} numbers")
    tokenizer = MapTokenizer(channels, widths.pop())
    search = GridSearch(
        kind="attentive",
        title="Attentive probe, accuracy in percent",
        description=f"one query that attends to the tokens of frozen maps ({channels} channels), then one linear layer "
        "(AdamW)",
        score_grid=build_attentive_scorer(protocol, len(set(train.labels)), tokenizer),
        grid=build_grid(protocol.lrs, protocol.weight_decays),
        validation_share=protocol.validation_share,
        seed=protocol.seed,
    )
    result = run_grid_search(train, test, rows, search)
    result.protocol |= {
        **protocol_to_json(protocol),
        "kind": "attentive",
        "layer": MAP_LAYER,
        "channels": channels,
        "heads": math.gcd(protocol.heads, channels),
    }
    return result


def _build(options: AttentiveOptions, extraction: ExtractionOptions) -> dict[str, Evaluation]:
    protocol = AttentiveProtocol(seed=options.seed)

    def run(train: VideoFeatures, test: VideoFeatures, encoder: Encoder) -> Result:
        channels = int(encoder.backbone.num_features)  # type: ignore[arg-type]
        return evaluate_attentive(train, test, channels, protocol)

    return {"attentive": Evaluation(run, (MAP_LAYER,), "networks")}


PROTOCOL = FeatureProtocol(
    name="attentive",
    order=4,
    summary="a classifier that learns where and when to attend in the last feature map",
    options=AttentiveOptions,
    build=_build,
)
