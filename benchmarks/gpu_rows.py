"""What `gpu.py` measures: one function for each row, which runs in a process of its own and returns figures.

A figure is a number, a list of the numbers of all rounds, a text, or None where it is not known. `ROWS` has all rows in
the order of measuring: what matters most comes first, as the time may end before the last. `Setup.tiny` takes the
smallest shapes that go the same ways, for a try on a CPU.
"""

import dataclasses
import functools
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import augment
import claims
import extract
import index
import processes
import released_style
import step
import torch
import torch._dynamo  # taken along by every optimiser: imported once, not in the process of each row
import whole_step
from timing import measure_seconds

import unreel
from unreel.evaluation.baselines.trivial_baselines import FRAME_DIFFERENCE
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.video_features import JOINT
from unreel.models.memory_layout import move_to_channels_last
from unreel.models.registry import build_backbone
from unreel.profiling.flops import count_flops, find_peak
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime.fabric import hide_torchmetrics

with hide_torchmetrics():
    import lightning_fabric  # noqa: F401  # for the same reason

Figures = dict[str, float | list[float] | str | None]
Shape = dict[str, Any]
SMALL: Shape = {"size": 112, "num_frames": 16, "batch_size": 64}
LARGE: Shape = {"size": 224, "num_frames": 16, "batch_size": 32}
TINY: Shape = {"size": 32, "num_frames": 4, "batch_size": 4}
NETWORKS = {"r3d": SMALL, "r21d": SMALL, "r3d50": LARGE}
WARM_UP, ROUNDS = 3, 10


@dataclasses.dataclass(frozen=True)
class Setup:
    """Where a row runs, on which videos; `folder` is its own, and is removed afterwards.

    `start_method` is how its process begins: forked from one that has imported torch and has not used CUDA, which saves
    some seconds a row; spawned where a driver does not bear that.
    """

    videos: Path
    folder: Path
    device: Literal["cuda", "cpu"] = "cuda"
    tiny: bool = False
    start_method: Literal["fork", "spawn"] = "fork"

    def pick_shape(self, shape: Shape) -> Shape:
        return TINY if self.tiny else shape

    def pick_network(self, name: str) -> str:
        return "tiny" if self.tiny else name


class Row(NamedTuple):
    """A row of a table, how it is measured, and the most seconds that it may take."""

    table: str
    name: str
    measure: Callable[[Setup], Figures]
    limit_s: float = 75

    @property
    def key(self) -> str:
        """The name in the JSON file and of `--only`.

        >>> Row("networks", "`r3d`, bf16", dict).key
        'networks/r3d-bf16'
        """
        return f"{self.table}/{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-')}"


# A network alone.

LEVELS = ("bf16", "+ channels last", "+ fused optimiser", "+ compile")


def measure_network(setup: Setup, backbone: str, level: str) -> Figures:
    """Forward, and the whole step with AdamW, on random clips in bf16; each level adds a switch to the one before."""
    shape, switches = setup.pick_shape(NETWORKS[backbone]), LEVELS[: LEVELS.index(level) + 1]
    torch.backends.cudnn.benchmark = True
    network: Any = build_backbone(setup.pick_network(backbone)).to(setup.device).train()
    size, batch = shape["size"], shape["batch_size"]
    clips = torch.rand(batch, 3, shape["num_frames"], size, size, device=setup.device)
    if LEVELS[1] in switches:
        move_to_channels_last(network)
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(network.parameters(), fused=LEVELS[2] in switches or None)
    flops = count_flops(lambda: compute_loss(network, clips, setup.device))
    if LEVELS[3] in switches:
        network.compile(backend="eager" if setup.tiny else "inductor")

    def forward() -> None:
        with torch.no_grad():
            compute_loss(network, clips, setup.device)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        compute_loss(network, clips, setup.device).backward()
        optimizer.step()

    forward_ms, step_ms = (repeat_ms(work, setup) for work in (forward, train))
    found: Figures = {"forward_ms": forward_ms, "step_ms": step_ms}
    found["clips_per_s"] = [1000 * batch / ms for ms in step_ms]
    return found | use_of_gpu(setup, flops.total, step_ms, batch)


def compute_loss(network: Any, clips: torch.Tensor, device: str) -> torch.Tensor:
    with torch.autocast(device, dtype=torch.bfloat16):
        loss: torch.Tensor = network(clips).float().mean()
    return loss


def repeat_ms(work: Callable[[], None], setup: Setup) -> list[float]:
    """Milliseconds of every round after the first ones, whose peak of memory is that of `work` alone."""
    warm_up, rounds = (1, 2) if setup.tiny else (WARM_UP, ROUNDS)
    for _ in range(warm_up):
        measure_seconds(work, setup.device)
    if setup.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return [1000 * measure_seconds(work, setup.device) for _ in range(rounds)]


def use_of_gpu(setup: Setup, flops: int, step_ms: list[float], batch: int) -> Figures:
    """MFU of the step, memory of a clip at the peak of the step, and how many such clips would fit."""
    if setup.device != "cuda":
        return {"mfu": None, "mb_per_clip": None, "clips_that_fit": None}
    peak = find_peak(torch.cuda.get_device_name(), "bf16-mixed", allow_tf32=True)
    bytes_per_clip = torch.cuda.max_memory_allocated() / batch
    return {
        "mfu": flops / (statistics.median(step_ms) / 1000) / peak.flops_per_s if peak else None,
        "mb_per_clip": bytes_per_clip / 2**20,
        "clips_that_fit": torch.cuda.get_device_properties(0).total_memory // bytes_per_clip,
    }


# What the other benchmarks measure.


def measure_whole_step(setup: Setup, method: str, backbone: str) -> Figures:
    """benchmarks/whole_step.py: from files to the optimiser, beside the bare network."""
    shape = setup.pick_shape(NETWORKS[backbone])
    rounds = {"steps": 1, "rounds": 1, "workers": 0, "max_videos": 8} if setup.tiny else {"steps": 8}
    args = whole_step.Args(
        setup.videos, (method,), setup.pick_network(backbone), device=setup.device, **shape, **rounds
    )
    rates = whole_step.measure_method(method, args, setup.folder)
    gpu = rates.gpu or whole_step.GpuUse(None, None, float("nan"), 0)
    known = rates.gpu is not None
    return {
        "network_ms": 1000 * rates.alone_s,
        "step_ms": 1000 * rates.whole_s,
        "waiting": rates.waiting_share,
        "ratio": rates.ratios,
        "network_mfu": gpu.network_mfu,
        "step_mfu": gpu.step_mfu,
        "mb_per_instance": gpu.instance_mb if known else None,
        "instances_that_fit": gpu.instances_that_fit if known else None,
    }


def measure_switch(setup: Setup, change: str) -> Figures:
    """`unreel bench --against`: the loop of iic with one of its switches off, in alternation with the loop as it is."""
    shape, few = setup.pick_shape(SMALL), unreel.BenchOptions(2, 2, 8) if setup.tiny else unreel.BenchOptions(3, 15)
    options = shape | {"backbone": setup.pick_network("r3d"), "device": setup.device}
    options |= {"workers": 0} if setup.tiny else {}
    comparison = unreel.bench(setup.videos, "iic", change, few, **options).comparison
    assert comparison is not None
    return {"given": comparison.given, "changed": comparison.changed, "ratio": comparison.speed_ratios}


def measure_method_step(setup: Setup, method: str) -> Figures:
    """benchmarks/step.py: views, loss, memory and optimiser on clips in memory, beside the bare network."""
    rounds = 2 if setup.tiny else 7
    shape = setup.pick_shape(SMALL)
    args = step.Args((method,), setup.pick_network("r3d"), device=setup.device, rounds=rounds, **shape)
    rates = step.measure_method(method, args)
    clips = f"{rates.trained:g} + {rates.seen:g}"
    return {"clips": clips, "calls": rates.num_calls, "step_ms": 1000 * rates.step_s, "ratio": rates.ratios}


def measure_augmentation(setup: Setup, stream: Literal["clip0", "clip1"]) -> Figures:
    """benchmarks/augment.py: CVRL's augmentation, beside kornia where it is installed."""
    shape = setup.pick_shape(SMALL)
    args = augment.Args(device=setup.device, rounds=2 if setup.tiny else 10, **shape)
    torch.manual_seed(0)
    height, width = round(args.size * 8 / 7), round(args.size * 8 / 7 * 4 / 3)
    clips = torch.rand(args.batch_size, 3, args.num_frames, height, width, device=setup.device)
    ours, theirs = augment.measure_chains(args, clips, stream)
    if not theirs:
        return {"unreel": ours, "kornia": "kornia is not installed", "ratio": None}
    return {"unreel": ours, "kornia": theirs, "ratio": [a / b for a, b in zip(ours, theirs, strict=True)]}


def measure_released_style(setup: Setup) -> Figures:
    """benchmarks/released_style.py: iic-paper beside a step in the style of IIC's release."""
    few: dict[str, Any] = {"rounds": 1, "steps": 1, "workers": 0, "num_negatives": 8}
    many: dict[str, Any] = {"rounds": 3, "steps": 8, "workers": min(8, count_cores())}
    args = released_style.Args(
        setup.videos,
        backbone=setup.pick_network("r3d"),
        device=setup.device,
        frames=setup.folder / "frames",
        **(few if setup.tiny else many),
        **setup.pick_shape(SMALL | {"batch_size": 16}),  # of IIC's release
    )
    found: Figures = {}
    for part, pairs in zip(("step", "loop"), released_style.measure(args)[1].values(), strict=True):
        theirs, ours = ([1000 * value for value in column] for column in zip(*pairs, strict=True))
        ratios = [a / b for a, b in pairs]
        found |= {f"{part}_released_ms": theirs, f"{part}_ms": ours, f"{part}_ratio": ratios}
    return found


def measure_processes(setup: Setup, devices: int) -> Figures:
    """benchmarks/processes.py: clips per second of `unreel pretrain --devices N`, the batch of each the same."""
    if setup.device == "cuda" and devices > torch.cuda.device_count():
        return {"clips_per_s": f"this machine has {torch.cuda.device_count()} GPU"}
    shape = setup.pick_shape(SMALL)
    options = {"backbone": setup.pick_network("r3d"), "device": setup.device, **shape}
    options |= {"batch-size": options.pop("batch_size") * devices, "num-frames": options.pop("num_frames")}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    words += [] if setup.tiny else ["--workers", str(max(1, min(8, count_cores() // devices - 1)))]
    args = processes.Args(setup.videos, steps=10 if setup.tiny else 60, options=tuple(words))
    return {"clips_per_s": processes.measure_clips_per_s(args, devices, setup.folder / "run")}


def measure_extraction(setup: Setup) -> Figures:
    """benchmarks/extract.py: features of videos, beside decoding alone and the encoder alone."""
    shape = {name: setup.pick_shape(SMALL)[name] for name in ("size", "num_frames")}
    few = {"num_clips": 2, "videos": 4, "rounds": 1, "workers": 1} if setup.tiny else {"videos": 120, "rounds": 3}
    args = extract.Args(setup.videos, setup.pick_network("r3d"), device=setup.device, **shape, **few)
    videos, _, times_s = extract.measure(args)
    return compare_halves(videos, list(times_s.values()))


def measure_indexing(setup: Setup) -> Figures:
    """benchmarks/index.py: `unreel index`, beside decoding alone and the encoder alone."""
    shape = {name: setup.pick_shape(SMALL)[name] for name in ("size", "num_frames")}
    few = {"videos": 4, "rounds": 1} if setup.tiny else {"videos": 200, "rounds": 2}
    args = index.Args(setup.videos, setup.pick_network("r3d"), device=setup.device, **shape, **few)
    _, clips, _, times_s = index.measure(args)
    return compare_halves(clips, [[wall_s for wall_s, _ in values] for values in times_s.values()])


def compare_halves(count: int, times_s: Sequence[Sequence[float]]) -> Figures:
    """Videos or clips per second of both halves and of the whole, and whole / slower half."""
    decoding, encoding, whole = ([count / seconds for seconds in column] for column in times_s)
    ratios = [w / min(d, e) for d, e, w in zip(decoding, encoding, whole, strict=True)]
    return {"decoding": decoding, "encoder": encoding, "whole": whole, "ratio": ratios}


# Short runs.


def measure_run(setup: Setup, method: str) -> Figures:
    """Train on the videos of train.txt without their labels, then retrieval in the protocol of IIC."""
    options: dict[str, Any] = {"fps": 12.5, "stride_frames": 0, "optimizer": "adamw", "lr": 0.002, "weight_decay": 0.01}
    options |= {"schedule": "cosine", "warmup": 0.05, "segment_s": 10.0, "held_out": 0.1, "init": "none", "seed": 0}
    options |= {"monitor_epochs": 10**6, "checkpoint_minutes": 1000.0, "device": setup.device}
    options |= setup.pick_shape(SMALL) | {"backbone": setup.pick_network("r3d"), "steps": 2 if setup.tiny else 500}
    options |= {"workers": 0, "threads": 1} if setup.tiny else {}
    began_s = time.monotonic()
    encoder = claims.train_row(setup.folder / "run", setup.videos, build_run_config(method, options))
    minutes, clips = (time.monotonic() - began_s) / 60, 2 if setup.tiny else 3
    rows = unreel.evaluate(None, encoder, setup.videos, "retrieval", num_clips=clips, layer="conv5", centring="none")[
        "retrieval"
    ].rows
    found: Figures = {f"R@{k}": rows[JOINT][f"R@{k}"] for k in (1, 5, 10, 20, 50)}
    floors: Figures = {"untrained": rows[UNTRAINED_ENCODER]["R@1"], "difference": rows[FRAME_DIFFERENCE]["R@1"]}
    return {"steps": options["steps"], "minutes": minutes} | found | floors


# The machine.


def describe_machine(setup: Setup) -> dict[str, Any]:
    """Name and number of the GPUs, or the processor; versions. A GPU is used once, so that what is wrong shows here."""
    found = {"torch": torch.__version__, "python": platform.python_version(), "cores": count_cores()}
    if setup.device != "cuda":
        return found | {"name": claims.read_cpu_name(), "gpus": 0}
    if not torch.cuda.is_available():
        return found | {"name": "", "gpus": 0}
    torch.ones(1, device="cuda").sum().item()
    memory_gb = torch.cuda.get_device_properties(0).total_memory / 2**30
    about = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "memory_gb": round(memory_gb, 1)}
    return found | about | {"name": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count()}


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def list_rows() -> list[Row]:
    """All rows, what matters most first; the slow ones are what has to be compiled."""
    rows = [
        Row("networks", f"`{network}`, {level}", functools.partial(measure_network, backbone=network, level=level))
        for level in LEVELS
        for network in NETWORKS
    ]
    rows += [
        Row("whole step", f"`{method}`, `{n}`", functools.partial(measure_whole_step, method=method, backbone=n), 90)
        for method, n in (("iic", "r3d"), ("trio", "r3d"), ("iic", "r21d"), ("cvrl", "r3d50"))
    ]
    rows += [Row("runs", f"`{m}`", functools.partial(measure_run, method=m), 150) for m in ("trio", "iic")]
    rows += [
        Row("augmentation", "first view, always blurred", functools.partial(measure_augmentation, stream="clip0")),
        Row("augmentation", "second view, solarised", functools.partial(measure_augmentation, stream="clip1")),
        Row("released style", "`iic-paper`", measure_released_style),
        Row("use", "features of 10 clips of each video, videos/s", measure_extraction),
        Row("use", "`unreel index`, clips/s", measure_indexing),
        Row("processes", "1 GPU", functools.partial(measure_processes, devices=1), 100),
        Row("processes", "2 GPUs", functools.partial(measure_processes, devices=2), 100),
    ]
    switches = ("channels_last=off", "fused=off,read_back=each-step", "read_back=each-step", "compile=off")
    switches += ("precision=32-true",)
    everything = "compile=off,channels_last=off,fused=off,read_back=each-step,precision=32-true"
    rows += [Row("switches", f"`{s}`", functools.partial(measure_switch, change=s)) for s in (*switches, everything)]
    methods = ("trio", "iic", "iic-paper", "cvrl", "dual", "moco", "byol")
    return rows + [Row("methods", f"`{m}`", functools.partial(measure_method_step, method=m), 40) for m in methods]


ROWS = list_rows()
