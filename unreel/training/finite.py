"""A loss or gradient that is not finite stops a run before the weights change, also where the GPU is not waited for.

Looked at each step, such a value is an error at once. Looked at every `log_steps`, the device holds the weights back by
itself from that step on, as mixed precision does with an overflow (`found_inf`), and the error comes with the next
look: before anything is saved, since every save looks first. What a method remembers (memory, queue, teacher) may have
changed by then; the run ends, and its last checkpoint has none of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unreel.errors import NonFiniteError, StoppedElsewhere
from unreel.training.team import ALONE, Team
from unreel.types import Instance


class FiniteCheck:
    """Watches the losses and gradients of a run; `deferred` looks at them only when it is told to."""

    def __init__(self, run: Path, instances: Sequence[Instance], deferred: bool) -> None:
        self.run, self.instances, self.deferred = run, instances, deferred
        self.refused: Tensor | None = None

    def at_once(self, what: str, value: Tensor, step: int, rows: Sequence[int], team: Team = ALONE) -> None:
        """Raise NonFiniteError for a loss or gradient of `step`, unless looking is deferred.

        A loss is each process's own: where another's is not finite, this one ends as well (StoppedElsewhere).
        """
        if self.deferred:
            return
        bad = not torch.isfinite(value)
        elsewhere = team.any(bad)
        if bad:
            self.refuse(what, float(value.detach()), step, rows)
        if elsewhere:
            raise StoppedElsewhere

    def hold_back(self, optimizer: Any, *values: Tensor) -> None:
        """Where looking is deferred: no update from the first value on that is not finite, decided on the device."""
        if not self.deferred:
            return
        bad = (~torch.isfinite(torch.stack([value.detach() for value in values])).all()).float()
        self.refused = bad if self.refused is None else torch.maximum(self.refused, bad)
        getattr(optimizer, "optimizer", optimizer).found_inf = self.refused

    def look(self, values: dict[str, float], step: int, rows: Sequence[int]) -> None:
        """Raise NonFiniteError for figures of `step` that were read back."""
        for name, what in (("loss", "loss"), ("grad_norm", "gradient")):
            if not abs(values[name]) < float("inf"):  # NaN compares as false
                self.refuse(what, values[name], step, rows)

    def refuse(self, what: str, value: float, step: int, rows: Sequence[int]) -> None:
        names = [self.instances[i].path for i in rows]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise NonFiniteError(
            f"the {what} at step {step + 1} is {value}; stopped before the weights changed. The batch was {shown}. "
            f"The last checkpoint in {self.run} is intact; a lower --lr is the usual cure"
        )
