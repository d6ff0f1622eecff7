"""Linear classifiers for all points of a grid, trained side by side on the same features."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unreel.evaluation.probes.clip_average import average_over_clips
from unreel.evaluation.probes.grid_search import Hyperparameters
from unreel.evaluation.probes.logistic_regression import fit_logistic_regression
from unreel.evaluation.probes.sample_batches import WARMUP, SampleBatches
from unreel.settings.optimisation import OptimisationSettings
from unreel.training.lr_schedule import compute_lr

MOMENTUM = 0.9
LBFGS_MAX_ITER = 1000
CLIPS_PER_CHUNK = 4096  # clips classified at a time


class ParallelLinear(NamedTuple):
    """G linear layers on the same features: weights (D, G, C), biases (G, C)."""

    weights_DGC: Tensor
    biases_GC: Tensor

    def predict_probabilities(self, x_BD: Tensor) -> Tensor:
        """Softmax (B, G, C), one matrix product for all layers."""
        logits_BK = x_BD @ self.weights_DGC.flatten(1)
        return (logits_BK.view(len(x_BD), *self.biases_GC.shape) + self.biases_GC).softmax(dim=2)


class FeatureScaler(NamedTuple):
    """What is done to features (B, D) before the layer: length 1 (optional), minus mean, over scale."""

    l2_normalize: bool
    mean_D: Tensor
    scale_D: Tensor

    def __call__(self, x_BD: np.ndarray) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(x_BD, np.float32))
        return (l2_normalize(x) if self.l2_normalize else x).sub(self.mean_D).div_(self.scale_D)


def l2_normalize(x_BD: Tensor) -> Tensor:
    """Rows of length 1."""
    return x_BD / x_BD.norm(dim=1, keepdim=True).clamp_min(1e-12)


def fit_scaler(train_BD: np.ndarray, normalize: bool, standardize: bool = True) -> FeatureScaler:
    """Mean, and deviation times sqrt(D), of the training clips; constant columns become 0 instead of noise."""
    width = train_BD.shape[1]
    if not standardize:
        return FeatureScaler(normalize, torch.zeros(width), torch.ones(width))
    x_BD = torch.from_numpy(np.ascontiguousarray(train_BD, np.float32))
    variance_D, mean_D = torch.var_mean(l2_normalize(x_BD) if normalize else x_BD, dim=0, correction=0)
    constant_D = variance_D <= 1e-12 * mean_D.square()  # equal numbers differ by this much in float32
    return FeatureScaler(normalize, mean_D, torch.where(constant_D, math.inf, variance_D.sqrt() * math.sqrt(width)))


@torch.no_grad()
def train_parallel_linear(
    x_BD: Tensor,
    class_B: Tensor,
    num_classes: int,
    grid: Sequence[Hyperparameters],
    epochs: int,
    batches: SampleBatches,
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


def fit_logistic_layers(
    x_BD: Tensor, class_B: Tensor, num_classes: int, grid: Sequence[Hyperparameters]
) -> ParallelLinear:
    """scikit-learn's logistic regression for each C, as layers; a class without samples has probability 0."""
    x, y = x_BD.double().numpy(), class_B.numpy()
    weights_DGC = torch.zeros(x.shape[1], len(grid), num_classes, dtype=torch.float64)
    biases_GC = torch.full((len(grid), num_classes), -math.inf, dtype=torch.float64)
    for g, point in enumerate(grid):
        model = fit_logistic_regression(x, y, point["C"], LBFGS_MAX_ITER)
        present = torch.from_numpy(model.classes_)
        is_binary = len(present) == 2  # then scikit-learn has one row, the second class against the first
        coef, intercept = (torch.from_numpy(np.asarray(part)) for part in (model.coef_, model.intercept_))
        weights_DGC[:, g, present] = torch.cat([torch.zeros_like(coef), coef]).T if is_binary else coef.T
        biases_GC[g, present] = torch.cat([torch.zeros_like(intercept), intercept]) if is_binary else intercept
    return ParallelLinear(weights_DGC.float(), biases_GC.float())


def average_linear_softmax(layers: ParallelLinear, scaler: FeatureScaler, test_QVD: np.ndarray) -> np.ndarray:
    """Mean of the softmax over the clips of each video, float32 (G, Q, C)."""
    mean_QGC = average_over_clips(lambda x_BD: layers.predict_probabilities(scaler(x_BD)), test_QVD, CLIPS_PER_CHUNK)
    return mean_QGC.transpose(0, 1).numpy()
