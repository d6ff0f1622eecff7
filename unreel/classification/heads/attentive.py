"""The attentive probe of `unreel evaluate attentive`, kept: one query attends to the tokens of the last map."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from unreel.classification.heads.head import FeatureInput, require_shapes
from unreel.errors import CheckpointError
from unreel.evaluation.probes.attentive_pooling import AttentiveProbe, MapTokenizer
from unreel.evaluation.probes.grid_search import GridSearch, Hyperparameters, build_grid, choose_hyperparameters
from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol, build_attentive_scorer, train_probe


@dataclass(frozen=True)
class AttentiveHead:
    """A trained probe, and how maps become tokens."""

    probe: AttentiveProbe
    tokenizer: MapTokenizer
    kind: ClassVar[str] = "attentive"
    sees: ClassVar[FeatureInput] = "map"

    @torch.no_grad()
    def score(self, features_BD: np.ndarray) -> np.ndarray:
        return self.probe(self.tokenizer(features_BD)).log_softmax(dim=1).numpy()

    def to_json(self) -> dict[str, Any]:
        tokenizer = self.tokenizer
        return {
            "channels": tokenizer.channels, "view_width": tokenizer.view_width, "heads": self.probe.pool.heads
        }  # fmt: skip

    def to_tensors(self) -> dict[str, Tensor]:
        return dict(self.probe.state_dict())

    @classmethod
    def from_saved(cls, values: dict[str, Any], tensors: dict[str, Tensor], num_classes: int) -> "AttentiveHead":
        """Raises CheckpointError for tensors that are not those of such a probe."""
        probe = AttentiveProbe(int(values["channels"]), int(values["heads"]), num_classes)
        require_shapes(tensors, {name: tuple(tensor.shape) for name, tensor in probe.state_dict().items()})
        try:
            probe.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(f"its tensors are not those of a probe ({str(error).splitlines()[-1]})") from error
        return cls(probe.eval(), MapTokenizer(int(values["channels"]), int(values["view_width"])))


@dataclass(frozen=True)
class AttentiveTrainer:
    """Trains attentive heads by the protocol's rules."""

    protocol: AttentiveProtocol
    tokenizer: MapTokenizer

    def choose(self, clips_NVD: np.ndarray, class_N: np.ndarray, held_N: np.ndarray | None) -> Hyperparameters:
        scorer = build_attentive_scorer(self.protocol, int(class_N.max()) + 1, self.tokenizer)
        grid = build_grid(self.protocol.lrs, self.protocol.weight_decays)
        search = GridSearch("attentive", "", "", scorer, grid, self.protocol.validation_share, self.protocol.seed)
        return choose_hyperparameters(clips_NVD, class_N, held_N, search)

    def fit(
        self, clips_NVD: np.ndarray, class_N: np.ndarray, num_classes: int, values: Hyperparameters
    ) -> AttentiveHead:
        probe = train_probe(clips_NVD, class_N, num_classes, values, self.tokenizer, self.protocol)
        return AttentiveHead(probe, self.tokenizer)
