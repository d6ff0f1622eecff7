"""The whole training step, from files to the optimiser, beside the bare network on as many clips, in alternation.

    python benchmarks/whole_step.py FOLDER [--methods trio iic] [--workers 0] [--threads 1]
    python benchmarks/whole_step.py PACKED --device cuda --backbone r3d --size 112 --num-frames 16 --batch-size 64

The loop is that of `unreel pretrain`, with its loader running; it is timed after the first epoch, when the frame cache
is full. The bare network processes as many clips forward and backward as the method trains on, and as many forward only
as its teacher or memory sees. Loop and network alternate after every `--steps` steps.
"""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro
from timing import measure_seconds

from unreel.models.registry import build_backbone
from unreel.profiling.measure import count_network_calls, count_step_flops, time_decoding
from unreel.profiling.videos import select_videos
from unreel.training.batches import iterate_batches
from unreel.training.metrics import MetricLogger
from unreel.training.run_folder.config import build_run_config
from unreel.training.train_step import TrainingSetup, setup_training, train_step
from unreel.types import Clips
from unreel.verbs.training.bench import build_bench_job, resolve_bench_config


@dataclasses.dataclass
class Args:
    """What to time."""

    source: tyro.conf.Positional[Path]
    methods: tuple[str, ...] = ("trio", "iic", "cvrl")
    backbone: str = "auto"
    size: int = 0
    num_frames: int = 0
    batch_size: int = 16
    workers: int = -1
    threads: int = 0
    cache_mb: int = -1
    fused: str = "auto"
    device: str = "auto"
    steps: int = 10
    rounds: int = 5
    max_videos: int = 500
    """Videos that are used, evenly spread over the source."""


def build_bare_network(trainer: TrainingSetup, passes: list[tuple[int, bool]]) -> Callable[[], None]:
    """The network forward and backward on as many clips as a step trains on, and forward only on those it sees."""
    job, fabric = trainer.job, trainer.fabric
    settings, backbone = job.settings, job.settings.backbone
    network: Any = fabric.setup_module(build_backbone(backbone))
    trained, seen = (sum(n for n, grad in passes if grad is wanted) for wanted in (True, False))
    shape = (max(trained, seen), 3, settings.num_frames, settings.size, settings.size)
    clips = torch.rand(shape, device=fabric.device)

    def run() -> None:
        network.zero_grad(set_to_none=True)
        fabric.backward(network(clips[:trained]).float().mean())
        with torch.no_grad():
            network(clips[:seen]) if seen else None

    return run


class StepRates(NamedTuple):
    """Medians of the bare network and of the whole step, and network / step of every round."""

    alone_s: float
    whole_s: float
    waiting_share: float
    ratios: list[float]
    gpu: "GpuUse | None"


class GpuUse(NamedTuple):
    """MFU of network and step (None for a GPU without a published peak), memory of an instance, instances that fit."""

    network_mfu: float | None
    step_mfu: float | None
    instance_mb: float
    instances_that_fit: int


def measure_method(name: str, args: Args, folder: Path) -> StepRates:
    """Train with one method, in alternation with its bare network; `folder` gets its run."""
    values = {f.name: getattr(args, f.name) for f in dataclasses.fields(args)}
    options = {n: values[n] for n in values if n not in ("source", "methods", "steps", "rounds", "max_videos")}
    config = resolve_bench_config(build_run_config(name, options))
    torch.set_num_threads(config.settings.threads)
    manifest, _ = select_videos(args.source, folder, args.max_videos)
    job = build_bench_job(folder / name, manifest, config)
    trainer = setup_training(job)
    batch, *_ = time_decoding(job, 1)
    network = build_bare_network(trainer, count_network_calls(trainer, batch))
    log, stream, waited_s, step = MetricLogger(job, quiet=True), iterate_batches(job, trainer.fabric), 0.0, 0

    def loop(steps: int) -> None:
        nonlocal waited_s, step
        for _ in range(steps):
            began_s = time.perf_counter()
            clips = next(stream)
            waited_s += time.perf_counter() - began_s
            train_step(trainer, clips, step, log)
            step += 1

    device, times_s = trainer.fabric.device.type, []
    with closing(log), closing(stream):
        loop(job.steps_per_epoch + 2)
        network()
        waited_s, began = 0.0, step
        for _ in range(args.rounds):
            alone_s = measure_seconds(lambda: [network() for _ in range(args.steps)], device)
            times_s.append((alone_s / args.steps, measure_seconds(lambda: loop(args.steps), device) / args.steps))
    ratios = sorted(alone / whole for alone, whole in times_s)
    alone_s, whole_s = (statistics.median(column) for column in zip(*times_s, strict=True))
    gpu = measure_gpu_use(trainer, batch, (alone_s, whole_s)) if device == "cuda" else None
    return StepRates(alone_s, whole_s, waited_s / (step - began) / whole_s, ratios, gpu)


def measure_gpu_use(trainer: TrainingSetup, batch: Clips, step_times_s: tuple[float, float]) -> GpuUse:
    """MFU of network and loop, memory for each instance, and the number of instances that fit."""
    peak_bytes, total_bytes = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    instance_bytes, flops = peak_bytes / len(batch.index_B), count_step_flops(trainer, batch)
    network_mfu, step_mfu = (flops.compute_mfu(seconds) for seconds in step_times_s)
    return GpuUse(network_mfu, step_mfu, instance_bytes / 2**20, int(total_bytes / instance_bytes))


def format_row(name: str, rates: StepRates) -> str:
    """A row of the table."""
    spread = f"{statistics.median(rates.ratios):.2f} ({rates.ratios[0]:.2f} to {rates.ratios[-1]:.2f})"
    times_ms = f"{1000 * rates.alone_s:.0f} | {1000 * rates.whole_s:.0f}"
    row = f"| `{name}` | {times_ms} | {rates.waiting_share:.0%} | {spread} |"
    if rates.gpu is None:
        return row
    reached = " | ".join("unknown" if mfu is None else f"{mfu:.0%}" for mfu in rates.gpu[:2])
    return row + f" {reached} | {rates.gpu.instance_mb:.0f} | {rates.gpu.instances_that_fit} |"


def main(args: Args) -> None:
    with tempfile.TemporaryDirectory() as folder:
        gpu = torch.cuda.is_available() and args.device != "cpu"
        more = " MFU of the network | MFU of the step | MB an instance | instances that fit |" if gpu else ""
        print(f"{args.backbone}, {torch.cuda.get_device_name() if gpu else 'CPU'}, batch {args.batch_size}\n")
        print("| method | bare network, ms | whole step, ms | waiting for data | network / step |" + more)
        print("|---|---|---|---|---|" + "---|" * 4 * gpu)
        for name in args.methods:
            print(format_row(name, measure_method(name, args, Path(folder))), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
