"""Linear probe: how well one linear layer on frozen features tells the classes apart.

Every training clip is a sample; a test video gets the mean softmax over its clips (and crops). Values such as the
learning rate are chosen on whole groups of training videos, then the layer is trained again on all of them.

kind      what
sgd       SGD with momentum 0.9, cosine with 5 % warm-up, every point of the grid in one batched product
logistic  scikit-learn's logistic regression (lbfgs), C chosen; for small data, where it takes seconds
cvrl      Qian et al. 2021 (CVRL), linear evaluation: L2-normalised pooled feature, SGD 0.9, rate 32 at
          batch 1024 (scaled with the batch), 5 of 100 epochs warm-up, no decay, mean softmax over 10 x 3 views.
          Where we deviate: no random crops, since features are cached, and the layer begins at zero
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.feature_extraction import VideoFeatures
from unreel.evaluation.probes.grid_search import (
    GridSearch,
    Hyperparameters,
    Scorer,
    find_layer_rows,
    get_clip_vectors,
    protocol_to_json,
    run_grid_search,
)
from unreel.evaluation.probes.logistic_regression import fit_logistic_regression
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import FEATURE_LAYERS
from unreel.settings import OptimisationSettings
from unreel.training.lr_schedule import compute_lr
from unreel.video.sampling.batch_sampler import permute_epoch

ProbeKind = Literal["auto", "logistic", "sgd", "cvrl"]
MOMENTUM, WARMUP = 0.9, 0.05
CVRL_LR, CVRL_BATCH = 32.0, 1024
MAX_LOGISTIC_CLIPS = (
    2000  # up to so many training clips lbfgs takes seconds; not by width, or two encoders would get two kinds
)
LBFGS_MAX_ITER = 1000
KIND_DESCRIPTIONS = {
    "sgd": "one linear layer (SGD)",
    "logistic": "logistic regression (lbfgs)",
    "cvrl": "one linear layer as CVRL trains it (rate 32 at batch 1024, judged there by 10 x 3 views), but without "
    "random crops, since the features are cached,",
}
CLIPS_PER_CHUNK = 4096  # clips judged at a time


@dataclass(frozen=True)
class LinearProtocol:
    """Kind of probe, layer, training and the grid of values to choose from (`cs` are for logistic, the rest for sgd).

    Rates and C mean the same for any width, since standardised features are divided by the root of it.
    """

    kind: ProbeKind = "auto"
    layer: str = "pooled"
    epochs: int = 100
    batch_size: int = 1024
    lrs: tuple[float, ...] = (0.3, 2.0, 15.0, 100.0)
    weight_decays: tuple[float, ...] = (0.0, 3e-4, 3e-3)
    cs: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    normalize: bool = True
    validation_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(ProbeKind):
            raise unknown_name_error("kind of linear probe", self.kind, get_args(ProbeKind))
        if self.layer not in FEATURE_LAYERS:
            raise unknown_name_error("layer", self.layer, FEATURE_LAYERS)
        if self.seed < 0:
            raise InputError(f"a seed is 0 or more, got {self.seed}")
        if self.epochs < 1 or self.batch_size < 1 or not (self.lrs and self.weight_decays and self.cs):
            raise InputError("a linear probe needs 1 epoch, a batch of 1 and one value of each kind, or more")

    def list_grid(self, kind: str) -> list[Hyperparameters]:
        """The points to choose from; CVRL's protocol has one."""
        if kind == "logistic":
            return [{"C": c} for c in self.cs]
        if kind == "cvrl":
            return [{"lr": CVRL_LR, "weight_decay": 0.0}]
        return build_grid(self.lrs, self.weight_decays)


def build_grid(lrs: Sequence[float], weight_decays: Sequence[float]) -> list[Hyperparameters]:
    """Every pair of a learning rate and a weight decay."""
    return [{"lr": lr, "weight_decay": decay} for lr, decay in itertools.product(lrs, weight_decays)]


class ParallelLinear(NamedTuple):
    """G linear layers on the same features, trained side by side: weights (D, G, C), biases (G, C)."""

    weights_DGC: Tensor
    biases_GC: Tensor

    def predict_probabilities(self, x_BD: Tensor) -> Tensor:
        """Softmax (B, G, C); one product for all layers."""
        logits_BK = x_BD @ self.weights_DGC.flatten(1)
        return (logits_BK.view(len(x_BD), *self.biases_GC.shape) + self.biases_GC).softmax(dim=2)


class FeatureScaler(NamedTuple):
    """What is done to features before the layer: length 1 (optional), then minus mean, over scale; from training."""

    l2_normalize: bool
    mean_D: Tensor
    scale_D: Tensor

    def __call__(self, x_BD: np.ndarray) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(x_BD, np.float32))
        return (l2_normalize(x) if self.l2_normalize else x).sub(self.mean_D).div_(self.scale_D)


def l2_normalize(x_BD: Tensor) -> Tensor:
    return x_BD / x_BD.norm(dim=1, keepdim=True).clamp_min(1e-12)


def fit_scaler(train_BD: np.ndarray, normalize: bool, standardize: bool = True) -> FeatureScaler:
    """Statistics of the training clips; columns that never change stay at zero instead of growing noise."""
    width = train_BD.shape[1]
    if not standardize:
        return FeatureScaler(normalize, torch.zeros(width), torch.ones(width))
    x_BD = torch.from_numpy(np.ascontiguousarray(train_BD, np.float32))
    variance_D, mean_D = torch.var_mean(l2_normalize(x_BD) if normalize else x_BD, dim=0, correction=0)
    constant_D = variance_D <= 1e-12 * mean_D.square()  # what float32 makes of equal numbers
    return FeatureScaler(normalize, mean_D, torch.where(constant_D, math.inf, variance_D.sqrt() * math.sqrt(width)))


@torch.no_grad()
def train_parallel_linear(
    x_BD: Tensor,
    class_B: Tensor,
    num_classes: int,
    grid: Sequence[Hyperparameters],
    epochs: int,
    batches: "SampleBatches",
) -> ParallelLinear:
    """Softmax regression by SGD for all points of the grid at once, each as torch.optim.SGD would train it alone.

    Every layer begins at zero (the loss is convex) and sees the same batches, a function of seed and epoch.
    """
    shape = (len(grid), num_classes)
    layers = ParallelLinear(x_BD.new_zeros(x_BD.shape[1], *shape), x_BD.new_zeros(shape))
    speeds = [torch.zeros_like(weights) for weights in layers]
    lr_G1, decay_G1 = (x_BD.new_tensor([[point[name]] for point in grid]) for name in ("lr", "weight_decay"))
    schedule = OptimisationSettings(lr=1.0, schedule="cosine", warmup=WARMUP)
    for step, rows in enumerate(batches.iterate_batches(len(x_BD), epochs)):
        batch_BD = x_BD.index_select(0, rows)
        error_BGC = layers.predict_probabilities(batch_BD)
        error_BGC[torch.arange(len(rows)), :, class_B[rows]] -= 1
        error_BGC /= len(rows)
        slopes = (batch_BD.T @ error_BGC.flatten(1)).view_as(layers.weights_DGC), error_BGC.sum(dim=0)
        lr = compute_lr(step, epochs * batches.count_batches(len(x_BD)), schedule)
        for weights, speed, slope in zip(layers, speeds, slopes, strict=True):
            speed.mul_(MOMENTUM).add_(slope).add_(decay_G1 * weights)
            weights.sub_(lr * lr_G1 * speed)
    return layers


class SampleBatches(NamedTuple):
    """About equal batches of all samples, at most `size`, in an order that is a function of seed and epoch."""

    batch_size: int
    seed: int

    def count_batches(self, num_samples: int) -> int:
        return math.ceil(num_samples / self.batch_size)

    def iterate_batches(self, num_samples: int, num_epochs: int) -> Iterator[Tensor]:
        """Rows of each batch, int64, epoch after epoch."""
        for epoch in range(num_epochs):
            order = torch.from_numpy(permute_epoch(self.seed, epoch, num_samples))
            yield from order.tensor_split(self.count_batches(num_samples))


def fit_logistic_layers(
    x_BD: Tensor, class_B: Tensor, num_classes: int, grid: Sequence[Hyperparameters]
) -> ParallelLinear:
    """scikit-learn's logistic regression for each C, as layers; a class that no sample shows has probability 0."""
    x, y = x_BD.double().numpy(), class_B.numpy()
    weights_DGC = torch.zeros(x.shape[1], len(grid), num_classes, dtype=torch.float64)
    biases_GC = torch.full((len(grid), num_classes), -math.inf, dtype=torch.float64)
    for g, point in enumerate(grid):
        model = fit_logistic_regression(x, y, point["C"], LBFGS_MAX_ITER)
        shown = torch.from_numpy(model.classes_)
        two = len(shown) == 2  # then scikit-learn has one row, the second class against the first
        coef, intercept = (torch.from_numpy(np.asarray(part)) for part in (model.coef_, model.intercept_))
        weights_DGC[:, g, shown] = torch.cat([torch.zeros_like(coef), coef]).T if two else coef.T
        biases_GC[g, shown] = torch.cat([torch.zeros_like(intercept), intercept]) if two else intercept
    return ParallelLinear(weights_DGC.float(), biases_GC.float())


def build_linear_scorer(protocol: LinearProtocol, kind: str, num_classes: int) -> Scorer:
    """Trains on the first clips and judges the others; nothing of the others reaches the layer."""

    def scorer(
        train_NVD: np.ndarray, class_N: np.ndarray, asked_QVD: np.ndarray, grid: Sequence[Hyperparameters]
    ) -> np.ndarray:
        train_BD = train_NVD.reshape(-1, train_NVD.shape[2])
        class_B = torch.from_numpy(class_N.repeat(train_NVD.shape[1]))
        prepare = fit_scaler(train_BD, kind == "cvrl" or protocol.normalize, standardize=kind != "cvrl")
        if kind == "logistic":
            return average_softmax(
                fit_logistic_layers(prepare(train_BD), class_B, num_classes, grid), prepare, asked_QVD
            )
        batches = SampleBatches(CVRL_BATCH if kind == "cvrl" else protocol.batch_size, protocol.seed)
        if kind == "cvrl":
            size = len(train_BD) / batches.count_batches(len(train_BD))
            grid = [{**point, "lr": point["lr"] * size / CVRL_BATCH} for point in grid]
        layers = train_parallel_linear(prepare(train_BD), class_B, num_classes, grid, protocol.epochs, batches)
        return average_softmax(layers, prepare, asked_QVD)

    return scorer


def average_softmax(layers: ParallelLinear, scaler: FeatureScaler, test_QVD: np.ndarray) -> np.ndarray:
    """Mean over the clips of each video of the softmax, float32 (G, Q, C)."""
    _, views, width = test_QVD.shape
    size = max(1, CLIPS_PER_CHUNK // views)
    parts = []
    for start in range(0, len(test_QVD), size):
        clips_QVD = test_QVD[start : start + size]
        found = layers.predict_probabilities(scaler(clips_QVD.reshape(-1, width)))
        parts.append(found.view(len(clips_QVD), views, *found.shape[1:]).mean(dim=1))
    return torch.cat(parts).transpose(0, 1).numpy()


def evaluate_linear(train: VideoFeatures, test: VideoFeatures, protocol: LinearProtocol | None = None) -> Result:
    """Top-1, top-5 and mean accuracy per class of a linear probe on each view, on all joined, and on the floors.

    Raises InputError when there is nothing to tell apart, or no features of the layer.
    """
    protocol = protocol or LinearProtocol()
    rows, num_classes = find_layer_rows(train, test, protocol.layer), len(set(train.labels))
    shapes = {name: get_clip_vectors(train, block, columns).shape for name, (block, columns) in rows.items()}
    kind = protocol.kind if protocol.kind != "auto" else choose_kind(list(shapes.values()))
    if kind == "cvrl":
        protocol = replace(protocol, batch_size=CVRL_BATCH, normalize=True, lrs=(CVRL_LR,), weight_decays=(0.0,))
    prepared = ["L2-normalised"] * protocol.normalize + ["standardised by the training clips"] * (kind != "cvrl")
    how = f"{KIND_DESCRIPTIONS[kind]} on frozen features of layer {protocol.layer}, {' and '.join(prepared)}"
    title, scorer = "Linear probe, accuracy in percent", build_linear_scorer(protocol, kind, num_classes)
    search = GridSearch(
        "linear", title, how, scorer, protocol.list_grid(kind), protocol.validation_share, protocol.seed
    )
    result = run_grid_search(train, test, rows, search)
    result.protocol |= {
        **protocol_to_json(protocol),
        "kind": kind,
        "numbers": {name: shape[2] for name, shape in shapes.items()},
    }
    return result


def choose_kind(shapes: Sequence[tuple[int, ...]]) -> str:
    """One kind for all rows of a table, and for all encoders on the same clips, so that they can be compared."""
    clips = max(videos * views for videos, views, _ in shapes)
    return "logistic" if clips <= MAX_LOGISTIC_CLIPS else "sgd"
