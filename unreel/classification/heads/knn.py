"""The votes of the nearest training videos: nothing is trained, and a new class needs only its videos."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from unreel.classification.heads.head import FeatureInput, require_shapes
from unreel.errors import CheckpointError
from unreel.evaluation.metrics.cosine_ranking import QueryGallery, find_nearest
from unreel.evaluation.probes.grid_search import Hyperparameters
from unreel.evaluation.probes.knn_votes import count_votes
from unreel.evaluation.protocols.knn import KnnProtocol, choose_k


@dataclass(frozen=True)
class KnnHead:
    """The mean row of each training video, and its class; `k` of them vote with exp(cosine / temperature)."""

    gallery_ND: np.ndarray
    class_N: np.ndarray
    num_classes: int
    k: int
    temperature: float
    kind: ClassVar[str] = "knn"
    sees: ClassVar[FeatureInput] = "rows"

    def score(self, features_BD: np.ndarray) -> np.ndarray:
        """As if one more neighbour had voted for all classes alike, so that none is impossible."""
        order_BK, cosine_BK = find_nearest(QueryGallery(features_BD, self.gallery_ND), self.k)
        share_BC = count_votes(order_BK, cosine_BK, self.class_N, self.temperature, self.num_classes)
        return np.log((order_BK.shape[1] * share_BC + 1 / self.num_classes) / (order_BK.shape[1] + 1))

    def to_json(self) -> dict[str, Any]:
        return {"k": self.k, "temperature": self.temperature}

    def to_tensors(self) -> dict[str, Tensor]:
        return {"gallery": torch.from_numpy(self.gallery_ND), "class": torch.from_numpy(self.class_N)}

    @classmethod
    def from_saved(cls, values: dict[str, Any], tensors: dict[str, Tensor], num_classes: int) -> "KnnHead":
        """Raises CheckpointError for tensors of other shapes, and for a class that is not among the names."""
        require_shapes(tensors, {"gallery": (-1, -1), "class": (len(tensors.get("gallery", ())),)})
        class_N = tensors["class"].numpy()
        if not len(class_N) or class_N.min() < 0 or class_N.max() >= num_classes:
            raise CheckpointError(f"its videos are of other classes than the {num_classes} it names")
        gallery_ND = tensors["gallery"].numpy()
        return cls(gallery_ND, class_N, num_classes, int(values["k"]), float(values["temperature"]))


@dataclass(frozen=True)
class KnnTrainer:
    """Keeps the mean of each video's clips; k is the one of the protocol that does best on held-out videos."""

    protocol: KnnProtocol

    def choose(self, clips_NVD: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None) -> Hyperparameters:
        return {"k": choose_k(clips_NVD.mean(axis=1), class_N, held_N, self.protocol)}

    def fit(self, clips_NVD: np.ndarray, class_N: np.ndarray, num_classes: int, values: Hyperparameters) -> KnnHead:
        gallery_ND = np.ascontiguousarray(clips_NVD.mean(axis=1), np.float32)
        return KnnHead(gallery_ND, class_N, num_classes, int(values["k"]), self.protocol.temperature)
