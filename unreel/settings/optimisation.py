"""Settings of the optimisation: length of the run, update rule, learning rate, seed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from unreel.errors import InputError
from unreel.settings.ranges import check_positive, check_ranges

MAX_STEPS, MAX_LR = 10**12, 1e4  # beyond, a slip of the hand
MAX_MINUTES = 60 * 24 * 3_660  # ten years


@dataclass(frozen=True)
class OptimisationSettings:
    """How long and with which update rule the weights are trained."""

    minutes: float | None = None
    """Minutes that the whole command may take, from inspection to report: the first steps are measured and done again,
    then the number of steps is fixed. With neither --minutes, --steps nor --epochs, the corpus decides."""
    steps: int = 0
    """Optimiser steps in all; 0 means --minutes or --epochs decides."""
    epochs: int | None = 240
    """Passes over the instances; None means the corpus decides: 6,000 steps, or 10 passes if that is more."""
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"
    """Update rule; lars is for batches of a thousand and more, with --no-decay-all and a learning rate of its own."""
    lr: float = 0.01
    """Peak learning rate."""
    momentum: float = 0.9
    """Momentum of SGD and LARS."""
    weight_decay: float = 1e-4
    """L2 penalty (SGD, LARS) or decoupled decay (AdamW)."""
    decay_all: bool = True
    """Decay biases and batch norm as well; off decays only weights of two and more dimensions."""
    schedule: Literal["steps", "cosine", "cosine-from-start", "constant"] = "steps"
    """Drop the rate at --drops, or decay it to 0 along a cosine that begins after the warm-up, or at the first step of
    the run: then the warm-up ends where the cosine is by now (TensorFlow's model garden); or leave it, so that the run
    can be lengthened."""
    drops: tuple[float, ...] = (45 / 240, 90 / 240, 125 / 240, 160 / 240)
    """Shares of the run at which the rate drops, for the schedule `steps`; by default IIC's epochs of 240."""
    drop_factor: float = 0.2
    """Factor that multiplies the rate at each drop."""
    warmup: float = 0.0
    """Share of the run over which the rate rises from 0."""
    warmup_epochs: float = 0.0
    """Epochs over which the rate rises from 0, instead of the share --warmup."""
    seed: int = 0
    """Random seed: same seed, same run, whatever the number of workers."""

    def __post_init__(self) -> None:
        check_ranges(self, steps=(0, MAX_STEPS), seed=(0, 2**62))
        if self.epochs is not None:
            check_ranges(self, epochs=(1, float("inf")))
        if self.minutes is not None:
            check_positive(self, "minutes")
            check_ranges(self, minutes=(0, MAX_MINUTES))
        check_ranges(self, momentum=(0, 1), weight_decay=(0, float("inf")), drop_factor=(0, 1), warmup=(0, 1))
        check_positive(self, "lr")
        check_ranges(self, lr=(0, MAX_LR))
        check_ranges(self, warmup_epochs=(0, float("inf")))
        if self.warmup and self.warmup_epochs:
            raise InputError(
                f"warmup {self.warmup:g} and warmup_epochs {self.warmup_epochs:g} both say how long the rate rises; "
                "give one of them"
            )
        if not all(0 <= drop <= 1 for drop in self.drops):
            raise InputError(f"drops are shares of the run, between 0 and 1, got {self.drops}")

    @property
    def is_length_open(self) -> bool:
        """Whether the number of steps is still to be found: from the minutes, or from the corpus."""
        return not self.steps and (self.minutes is not None or self.epochs is None)


def require_one_length(named: Collection[str]) -> None:
    """Raise InputError when --minutes stands beside --steps or --epochs; `named` are those that a person gave.

    --steps beside --epochs is allowed, and wins.
    """
    others = [f"--{name}" for name in named if name in ("steps", "epochs")]
    if "minutes" in named and others:
        raise InputError(f"--minutes and {others[0]} both say how long to train; give one of them")
