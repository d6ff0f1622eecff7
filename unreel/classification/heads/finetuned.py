"""The linear layer of a fine-tuned network; the network itself is the classifier's encoder."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.classification.heads.head import FeatureInput, require_shapes


@dataclass(frozen=True)
class FinetunedHead:
    """Logits are `weight @ features + bias` on the pooled features of one view, of unit length where it says so."""

    weight_CD: Tensor
    bias_C: Tensor
    normalize: bool
    kind: ClassVar[str] = "finetuned"
    sees: ClassVar[FeatureInput] = "pooled"

    def score(self, features_BD: np.ndarray) -> np.ndarray:
        x_BD = torch.from_numpy(np.ascontiguousarray(features_BD, np.float32))
        x_BD = F.normalize(x_BD, dim=1) if self.normalize else x_BD
        return F.linear(x_BD, self.weight_CD, self.bias_C).log_softmax(dim=1).numpy()

    def to_json(self) -> dict[str, Any]:
        return {"normalize": self.normalize}

    def to_tensors(self) -> dict[str, Tensor]:
        return {"weight": self.weight_CD, "bias": self.bias_C}

    @classmethod
    def from_saved(cls, values: dict[str, Any], tensors: dict[str, Tensor], num_classes: int) -> "FinetunedHead":
        """Raises CheckpointError for tensors of other shapes."""
        require_shapes(tensors, {"weight": (num_classes, -1), "bias": (num_classes,)})
        return cls(tensors["weight"], tensors["bias"], bool(values["normalize"]))
