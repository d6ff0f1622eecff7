"""How far a run has come: what a checkpoint remembers beside tensors."""

from dataclasses import asdict, dataclass
from typing import Any

from unreel.io.text import build_from_json


@dataclass
class RunState:
    """Steps done, and the best checkpoint so far with its rating (`rate_checkpoint`) and its same-video MRR.

    The fields are the keys of training.json.
    """

    step: int = 0
    best_step: int | None = None
    best_mrr: float = -1.0
    best_rating: float = 0.0

    def forget_best(self) -> None:
        """The best checkpoint no longer exists."""
        self.best_step, self.best_mrr, self.best_rating = None, -1.0, 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "RunState":
        """What `to_json` wrote. Raises ValueError for others."""
        return build_from_json(cls, {"step": None} | {name: data[name] for name in cls.__annotations__ if name in data})
