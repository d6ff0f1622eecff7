"""A loss or gradient that is not finite stops a run before the weights change, without waiting for the GPU each step.

Checked at each step, such a value raises at once. Checked every `log_steps`, the device itself skips all updates from
that step on, as mixed precision does after an overflow (`found_inf`); the error is raised when the values are read
back, which is always done before a checkpoint is saved. A method's memory bank, queue or teacher may have changed by
then, but the run ends and no checkpoint holds that.
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
    """Checks the losses and gradients of a run; `is_deferred` leaves the check to `check_logged_values`."""

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
        """Raise NonFiniteError for a loss or gradient of `step`, unless the check is deferred.

        Each process has its own loss: where that of another is not finite, this one raises PeerStoppedError.
        """
        if self.is_deferred:
            return
        is_bad = not torch.isfinite(value)
        is_bad_anywhere = group.any_rank(is_bad)
        if is_bad:
            self.raise_non_finite(quantity, float(value.detach()), step, instance_rows)
        if is_bad_anywhere:
            raise PeerStoppedError

    def block_update(self, optimizer: Any, *values: Tensor) -> None:
        """With deferred checks: block all updates from the first value that is not finite, decided on the device."""
        if not self.is_deferred:
            return
        is_bad = (~torch.isfinite(torch.stack([value.detach() for value in values])).all()).float()
        self.found_inf = is_bad if self.found_inf is None else torch.maximum(self.found_inf, is_bad)
        getattr(optimizer, "optimizer", optimizer).found_inf = self.found_inf

    def check_logged_values(self, values: dict[str, float], step: int, instance_rows: Sequence[int]) -> None:
        """Raise NonFiniteError for values of `step` that were read back."""
        for name, quantity in (("loss", "loss"), ("grad_norm", "gradient")):
            if not abs(values[name]) < float("inf"):  # NaN compares as false
                self.raise_non_finite(quantity, values[name], step, instance_rows)

    def raise_non_finite(self, quantity: str, value: float, step: int, instance_rows: Sequence[int]) -> None:
        names = [self.instances[i].path for i in instance_rows]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise NonFiniteError(
            f"the {quantity} at step {step + 1} is {value}; stopped before the weights changed. The batch was {shown}. "
            + self.advise(step)
        )

    def advise(self, step: int) -> str:
        """What to look at: before the first update of the weights no learning rate can be the reason."""
        if step > 0:
            return f"The last checkpoint in {self.run_folder} is intact; a lower --lr is the usual cure"
        return (
            "No learning rate has acted yet: look at what the loss computes (the logarithm or root of 0, a division by "
            "0), at these videos and at the weights that training began with; on a GPU also try --precision 32-true"
        )
