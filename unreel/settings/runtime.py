"""Settings of the run: device, arithmetic, speed, and how often it logs and saves."""

from dataclasses import dataclass
from typing import Literal

from unreel.settings.distributed import DistributedSettings
from unreel.settings.ranges import check_positive, check_ranges

Switch = Literal["auto", "on", "off"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class RuntimeSettings(DistributedSettings):
    """Where the network runs and how fast, in one process or several."""

    threads: int = 0
    """Threads of torch on the CPU; 0 leaves torch's choice."""
    device: DeviceName = "auto"
    """Where the network runs."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Arithmetic; auto means bf16-mixed on CUDA, 32-true elsewhere."""
    channels_last: Switch = "auto"
    """Lay the network's memory out with channels last, for faster convolutions; auto means on CUDA, and on a CPU in
    float32 for the networks that were measured to be faster so (docs/performance.md)."""
    compile: Switch = "auto"
    """Compile the network (torch.compile): a minute at the start, then fewer kernels; auto means on CUDA, for unreel's
    own networks, if Triton and a C compiler are installed."""
    fused: Switch = "auto"
    """Update all weights in one kernel (SGD and AdamW); auto means on, for CUDA and CPU."""
    read_back: Literal["auto", "each-step", "each-log"] = "auto"
    """When loss and gradients are read: at each step, or every --log-steps, so that nothing waits for the GPU. In
    either case no weight changes after a value that is not finite. auto means each-log on CUDA."""
    clips_at_once: int = 0
    """Clips that go through the network at a time, 0 all. Only the activations of this many are in memory; the backward
    pass computes them again, so that a large contrastive batch fits on one GPU. Batch norm then uses the statistics of
    each part alone."""
    monitor_epochs: int = 0
    """Epochs between monitors; 0 means ten times over the run."""
    best_checkpoint: Literal["monitors", "last"] = "monitors"
    """The checkpoint that is used afterwards: that with the best monitors, or the last one, as in papers."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints; every monitor, Ctrl-C and the end of the run also save one."""
    log_steps: int = 10
    """Steps between log lines."""
    wandb: str = ""
    """Also log to this project of Weights & Biases (pip install 'unreel[wandb]'); TensorBoard's files are always in
    RUN/tensorboard."""

    def __post_init__(self) -> None:
        DistributedSettings.__post_init__(self)
        check_ranges(self, threads=(0, 1024), clips_at_once=(0, float("inf")))
        check_ranges(self, monitor_epochs=(0, float("inf")), log_steps=(1, float("inf")))
        check_positive(self, "checkpoint_minutes")
