"""Settings of training in several processes."""

from dataclasses import dataclass
from typing import Literal

from unreel.settings.ranges import check_positive, check_ranges


@dataclass(frozen=True)
class DistributedSettings:
    """Number of processes, and what they share."""

    devices: int = 1
    """Training processes on this machine, one GPU each; they share --batch-size. Ignored under torchrun or SLURM."""
    shard: Literal["on", "off"] = "off"
    """With several processes: spread weights, gradients and the optimiser's state over them (FSDP), for networks that
    do not fit on one GPU. Sends more data; the results are the same. Excludes --compile on, --channels-last on and
    --fused on."""
    silence_limit_s: float = 60.0
    """Seconds without a heartbeat from one of several processes, or its machine, after which the others end."""
    sync_batch_norm: bool = True
    """With several processes: batch statistics over the batches of all of them."""

    def __post_init__(self) -> None:
        check_ranges(self, devices=(1, 1024))
        check_positive(self, "silence_limit_s")
