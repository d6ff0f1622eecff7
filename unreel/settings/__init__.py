"""What every pre-training run can be told, whatever its method. A method's preset fills in the values.

Field comments become the help of `unreel pretrain --help`.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from unreel.errors import InputError

Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Settings:
    """Options of data, network, optimisation and run."""

    backbone: str = "auto"
    """Network by name (`unreel methods` lists them), X-2d for its twin without time, package.module.Class for a module
    of yours, transformers:videomae and the like; auto means tiny on a CPU, r3d elsewhere."""
    width: int = 1
    """Width factor of r3d50, r3d101 and r3d152."""
    init: str = ""
    """Begin with these 2D weights, inflated along time: a file (.safetensors, .pth; ImageNet's want --standardize and
    --no-rescale), or a run of an X-2d network."""
    size: int = 0
    """Height and width of a clip in pixels; 0 means 64 for tiny, 112 for the others."""
    num_frames: int = 16
    """Frames of a clip; 0 means 8 for tiny, 16 for the others."""
    fps: float = 0.0
    """Frames per second of a clip, whatever the file's own rate; 0 means use --stride-frames."""
    stride_frames: int = 1
    """Take every n-th frame of the file; 0 means use --fps."""
    short: Literal["loop", "hold"] = "loop"
    """A video shorter than a clip is looped, or its last frame is held."""
    segment_s: float = 10.0
    """Recordings longer than 1.5 times this are cut into segments of about so many seconds, at shot changes."""
    batch_size: int = 16
    """Instances per step."""
    clips_at_once: int = 0
    """Clips that go through the network at a time, 0 all: activations of so many are held, and made again for the
    backward pass, so that a large contrastive batch fits on one GPU. Batch norm then sees each part by itself."""
    draws_per_video: int = 1
    """Rows of a batch that each opened video gives, drawn and augmented apart: less decoding, but fewer videos a step.
    Must divide the batch; a pass over the videos then takes so many times the steps."""
    epochs: int = 240
    """Passes over the instances."""
    steps: int = 0
    """Optimiser steps in all; 0 means --epochs decides."""
    optimizer: Literal["sgd", "adamw", "lars"] = "sgd"
    """Update rule; lars is for batches of a thousand and more, with --no-decay-all and a rate of its own."""
    lr: float = 0.01
    """Peak learning rate."""
    momentum: float = 0.9
    """Momentum of SGD and LARS."""
    weight_decay: float = 1e-4
    """L2 penalty (SGD, LARS) or decoupled decay (AdamW)."""
    decay_all: bool = True
    """Decay biases and batch norm as well; off leaves the penalty to weights of two and more dimensions."""
    schedule: Literal["steps", "cosine"] = "steps"
    """Drop the rate at --drops, or cosine to 0."""
    drops: tuple[float, ...] = (45 / 240, 90 / 240, 125 / 240, 160 / 240)
    """Shares of the run at which the rate drops, for the schedule `steps`; by default IIC's epochs of 240."""
    drop_factor: float = 0.2
    """What the rate is multiplied with at each drop."""
    warmup: float = 0.0
    """Share of the run over which the rate rises from 0."""
    seed: int = 0
    """The only source of chance: same seed, same run, whatever the number of workers."""
    workers: int = -1
    """Loader processes; -1 chooses: one for each core but one, at most 8. 0 decodes in the main process, which a crash
    of the decoder then ends: for debugging."""
    batches_ahead: int = 2
    """Batches that each loader process prepares ahead; no more than that, and the one in use, are ever in memory."""
    file_limit_s: float = 300.0
    """Seconds that a loader process may be at one video, and 2 more for each megabyte of it; then it is stopped and the
    video left out. So is one that wants more than 4 GB of memory."""
    cache_mb: int = -1
    """Memory for decoded frames of short videos, shared by all loader processes; -1 chooses: what the videos need, at
    most a quarter of the free memory; 0 decodes every time."""
    threads: int = 0
    """Threads of torch on the CPU; 0 leaves torch's choice."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the network runs."""
    devices: int = 1
    """Processes to train in on this machine, a GPU each; they share --batch-size. torchrun and SLURM say it for
    themselves, and then this does not count."""
    shard: Literal["on", "off"] = "off"
    """With several processes: spread weights, gradients and the optimiser's state over them (FSDP), for networks that
    do not fit on one GPU. More is sent; the results are the same. Not with what --compile and the like make faster."""
    silence_limit_s: float = 60.0
    """Seconds without a sign of life from one of several processes, or its machine, after which the others end."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Arithmetic; auto means bf16-mixed on CUDA, 32-true elsewhere."""
    channels_last: Switch = "auto"
    """Lay the network's memory out for a GPU's convolutions; auto means on CUDA."""
    compile: Switch = "auto"
    """Compile the network (torch.compile): a minute at the start, then fewer kernels; auto means on CUDA, for unreel's
    own networks, where Triton and a C compiler are there."""
    fused: Switch = "auto"
    """Update all weights in one kernel (SGD and AdamW); auto means on, for CUDA and CPU."""
    read_back: Literal["auto", "each-step", "each-log"] = "auto"
    """When loss and gradients are looked at: at each step, or every --log-steps, so that nothing waits for the GPU; a
    value that is not finite stops the weights in either case. auto means each-log on CUDA."""
    sync_batch_norm: bool = True
    """With several processes: batch statistics over the batches of all of them."""
    held_out: float = 0.1
    """Share of the videos (at most 200) kept out of training for the label-free monitors."""
    monitor_epochs: int = 0
    """Epochs between monitors; 0 means ten times over the run."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints; there is one at every monitor, at Ctrl-C and at the end as well."""
    log_steps: int = 10
    """Steps between log lines."""
    max_bad_share: float = 0.2
    """Refuse to start when more than this share of the files can't be used."""

    def __post_init__(self) -> None:
        least = {
            "batch_size": 1,
            "epochs": 1,
            "steps": 0,
            "num_frames": 0,
            "stride_frames": 0,
            "fps": 0,
            "log_steps": 1,
            "seed": 0,
        }
        least |= {"size": 0, "threads": 0, "monitor_epochs": 0, "workers": -1, "cache_mb": -1, "width": 1}
        least |= {"draws_per_video": 1, "batches_ahead": 1, "devices": 1, "clips_at_once": 0}
        most = {"num_frames": 1024, "size": 4096, "batch_size": 65_536, "threads": 1024, "workers": 1024, "seed": 2**62}
        most |= {"width": 64, "batches_ahead": 64, "devices": 1024}
        for name, bound in least.items():
            value, top = getattr(self, name), most.get(name, math.inf)
            if not bound <= value <= top:
                raise InputError(f"{name} must lie between {bound} and {top}, got {value}")
        if (self.fps > 0) == (self.stride_frames > 0):
            raise InputError(
                f"say either fps or stride_frames and set the other to 0: got fps={self.fps:g}, "
                f"stride_frames={self.stride_frames}"
            )
        positive = ("lr", "segment_s", "file_limit_s", "silence_limit_s", "checkpoint_minutes")
        shares = ("held_out", "max_bad_share", "warmup", "momentum", "drop_factor")
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if not all(0 <= drop <= 1 for drop in self.drops):
            raise InputError(f"drops are shares of the run, between 0 and 1, got {self.drops}")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay must be at least 0, got {self.weight_decay}")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        """What leaves nothing to train on, and what excludes each other on the way to the network."""
        if self.held_out == 1:
            raise InputError("held_out must be below 1, or nothing is left to train on; got 1")
        videos, rest = divmod(self.batch_size, self.draws_per_video)
        if rest or (self.draws_per_video > 1 and videos < 2):
            raise InputError(
                f"draws_per_video must divide the batch and leave at least 2 videos in it: got {self.draws_per_video} "
                f"for batch_size {self.batch_size}"
            )
        for name in ("channels_last", "compile", "fused"):
            if self.shard == "on" and getattr(self, name) == "on":
                raise InputError(f"{name} on does not go with shard on; leave --{name.replace('_', '-')} at auto")
        if self.shard == "on" and self.read_back == "each-log":
            raise InputError("read_back each-log does not go with shard on; leave --read-back at auto")
        if self.fused == "on" and self.optimizer == "lars":
            raise InputError("fused updates are there for sgd and adamw, not for lars; leave --fused at auto")
        if self.read_back == "each-log" and self.fused == "off" and self.optimizer != "lars":
            raise InputError(
                "--read-back each-log needs an optimiser that the GPU itself can hold back: set --fused on, or "
                "--read-back each-step"
            )


def make_single_machine_settings(**changes: Any) -> Settings:
    """Settings that every method of ours begins with on a laptop or one GPU, so that methods can be compared.

    The clip's length and size follow from the network, time is in seconds rather than in frames of the file.
    """
    common = Settings(
        num_frames=0,
        fps=12.5,
        stride_frames=0,
        epochs=200,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
    )
    return replace(common, **changes)
