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

from unreel.errors import NonFiniteError, PeerStoppedError
from unreel.training.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from unreel.types import Instance


class NanGuard:
    """Watches the losses and gradients of a run; `deferred` looks at them only when it is told to."""

    def __init__(self, run_folder: Path, instances: Sequence[Instance], is_deferred: bool) -> None:
        self.run_folder, self.instances, self.is_deferred = run_folder, instances, is_deferred
        self.found_inf: Tensor | None = None

    def check_step(
        self,
        quantity: str,
        value: Tensor,
        step: int,
        instance_rows: Sequence[int],
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Raise NonFiniteError for a loss or gradient of `step`, unless looking is deferred.

        A loss is each process's own: where another's is not finite, this one ends as well (StoppedElsewhere).
        """
        if self.is_deferred:
            return
        bad = not torch.isfinite(value)
        elsewhere = group.any_rank(bad)
        if bad:
            self.raise_non_finite(quantity, float(value.detach()), step, instance_rows)
        if elsewhere:
            raise PeerStoppedError

    def block_update(self, optimizer: Any, *values: Tensor) -> None:
        """Where looking is deferred: no update from the first value on that is not finite, decided on the device."""
        if not self.is_deferred:
            return
        bad = (~torch.isfinite(torch.stack([value.detach() for value in values])).all()).float()
        self.found_inf = bad if self.found_inf is None else torch.maximum(self.found_inf, bad)
        getattr(optimizer, "optimizer", optimizer).found_inf = self.found_inf

    def check_logged_values(self, values: dict[str, float], step: int, instance_rows: Sequence[int]) -> None:
        """Raise NonFiniteError for figures of `step` that were read back."""
        for name, what in (("loss", "loss"), ("grad_norm", "gradient")):
            if not abs(values[name]) < float("inf"):  # NaN compares as false
                self.raise_non_finite(what, values[name], step, instance_rows)

    def raise_non_finite(self, quantity: str, value: float, step: int, instance_rows: Sequence[int]) -> None:
        names = [self.instances[i].path for i in instance_rows]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise NonFiniteError(
            f"the {quantity} at step {step + 1} is {value}; stopped before the weights changed. The batch was {shown}. "
            f"The last checkpoint in {self.run_folder} is intact; a lower --lr is the usual cure"
        )
