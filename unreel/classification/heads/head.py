"""What every kind of head offers: scores of clips, and itself as plain values and tensors."""

from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor

from unreel.errors import CheckpointError

FeatureInput = Literal["rows", "pooled", "map"]
"""What a head sees of a clip: a unit row as in an index, the pooled features as they are, or the whole last map."""


class Head(Protocol):
    """Scores clips by class. `kind` names it in classifier.json, `sees` says which features it takes."""

    kind: ClassVar[str]
    sees: ClassVar[FeatureInput]

    def score(self, features_BD: np.ndarray) -> np.ndarray:
        """Log-probabilities (B, C) of clips (B, D), not calibrated."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Its plain values."""
        ...

    def to_tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        ...


def require_shapes(tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise CheckpointError unless these tensors are there in these shapes and hold no NaN; -1 is any length."""
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        fits = found is not None and len(found) == len(shape)
        if not fits or any(want not in (-1, have) for want, have in zip(shape, found or (), strict=True)):
            raise CheckpointError(f"its tensor '{name}' is {found}, not {shape}")
        if tensors[name].isnan().any():
            raise CheckpointError(f"its tensor '{name}' holds NaN")
