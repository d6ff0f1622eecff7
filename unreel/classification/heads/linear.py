"""A linear layer on unit rows: the linear probe of `unreel evaluate linear`, kept."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from unreel.classification.heads.head import FeatureInput, require_shapes
from unreel.evaluation.probes.grid_search import GridSearch, Hyperparameters, choose_hyperparameters
from unreel.evaluation.probes.parallel_linear import FeatureScaler, ParallelLinear
from unreel.evaluation.protocols.linear_probe import LinearProtocol, build_linear_scorer, choose_kind, fit_linear_layers


@dataclass(frozen=True)
class LinearHead:
    """One layer, and what is done to rows before it."""

    layer: ParallelLinear
    scaler: FeatureScaler
    kind: ClassVar[str] = "linear"
    sees: ClassVar[FeatureInput] = "rows"

    def score(self, features_BD: np.ndarray) -> np.ndarray:
        return self.layer.predict_probabilities(self.scaler(features_BD))[:, 0].clamp_min(1e-30).log().numpy()

    def to_json(self) -> dict[str, Any]:
        return {"l2_normalize": self.scaler.l2_normalize}

    def to_tensors(self) -> dict[str, Tensor]:
        weight_DC, bias_C = self.layer.weights_DGC[:, 0], self.layer.biases_GC[0]
        return {"weight": weight_DC, "bias": bias_C, "mean": self.scaler.mean_D, "scale": self.scaler.scale_D}

    @classmethod
    def from_saved(cls, values: dict[str, Any], tensors: dict[str, Tensor], num_classes: int) -> "LinearHead":
        """Raises CheckpointError for tensors of other shapes."""
        width = tensors["weight"].shape[0] if "weight" in tensors else -1
        shapes = {"weight": (width, num_classes), "bias": (num_classes,), "mean": (width,), "scale": (width,)}
        require_shapes(tensors, shapes)
        layer = ParallelLinear(tensors["weight"][:, None], tensors["bias"][None])
        return cls(layer, FeatureScaler(bool(values["l2_normalize"]), tensors["mean"], tensors["scale"]))


@dataclass(frozen=True)
class LinearTrainer:
    """Trains linear heads by the protocol's rules; lbfgs for few clips, else SGD."""

    protocol: LinearProtocol
    kind: str

    @classmethod
    def for_clips(cls, clips_NVD: np.ndarray, seed: int) -> "LinearTrainer":
        return cls(LinearProtocol(seed=seed), choose_kind([clips_NVD.shape]))

    def choose(self, clips_NVD: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None) -> Hyperparameters:
        """The values that do best on held-out videos; the middle of the grid where there are none."""
        scorer = build_linear_scorer(self.protocol, self.kind, int(class_N.max()) + 1)
        grid, share = self.protocol.list_grid(self.kind), self.protocol.validation_share
        search = GridSearch("linear", "", "", scorer, grid, share, self.protocol.seed)
        return choose_hyperparameters(clips_NVD, class_N, held_N, search)

    def fit(self, clips_NVD: np.ndarray, class_N: np.ndarray, num_classes: int, values: Hyperparameters) -> LinearHead:
        with torch.no_grad():
            layers = fit_linear_layers(self.protocol, self.kind, num_classes, clips_NVD, class_N, [values])
        return LinearHead(*layers)
