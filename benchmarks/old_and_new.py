"""Processor time of two checkouts of unreel, in alternation: the bare network, and the whole step of methods.

    python benchmarks/old_and_new.py OLD NEW FOLDER [--methods trio iic cvrl] [--rounds 7]

OLD and NEW are folders with a package `unreel`, FOLDER has videos. A process of each checkout makes a network, and a
loop of each method as `unreel pretrain` runs it, fills the cache of frames, and takes turns with the other: `--steps`
steps each. Processor time on one thread, so that other work on the machine matters little. The bare network
gets clips twice: contiguous, and with channels last, as crops of decoded frames lie.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

NETWORKS = ("network, contiguous clips", "network, channels last clips")


@dataclasses.dataclass
class Args:
    """What to time."""

    old: tyro.conf.Positional[Path]
    new: tyro.conf.Positional[Path]
    folder: tyro.conf.Positional[Path]
    methods: tuple[str, ...] = ("trio", "iic", "cvrl")
    batch_size: int = 16
    clips: int = 48
    """Clips of the bare network."""
    steps: int = 5
    rounds: int = 7


def build_network(num_clips: int, channels_last: bool) -> Callable[[], None]:
    """Forward and backward of `tiny`, set up as a training with default settings sets it up."""
    import torch

    from unreel.models.registry import build_backbone
    from unreel.settings import Settings
    from unreel.training.runtime.auto_settings import resolve_auto
    from unreel.training.runtime.network_setup import apply_channels_last

    torch.manual_seed(0)
    network, clips = build_backbone("tiny"), torch.rand(num_clips, 3, 8, 64, 64)
    apply_channels_last(network, resolve_auto(Settings(device="cpu", backbone="tiny")))
    if channels_last:
        clips = clips.contiguous(memory_format=torch.channels_last_3d)

    def run() -> None:
        network.zero_grad(set_to_none=True)
        network(clips).mean().backward()

    return run


def build_loop(name: str, videos: Path, folder: Path, batch_size: int) -> Callable[[], None]:
    """A step of the loop of a method, its cache of frames full."""
    from unreel.profiling.videos import select_videos
    from unreel.training.batches import iterate_batches
    from unreel.training.metrics import MetricLogger
    from unreel.training.run_folder.config import build_run_config
    from unreel.training.train_step import setup_training, train_step
    from unreel.verbs.training.bench import build_bench_job, resolve_bench_config

    options = {"batch_size": batch_size, "workers": 0, "threads": 1, "device": "cpu", "backbone": "tiny"}
    config = resolve_bench_config(build_run_config(name, options))
    manifest, _ = select_videos(videos, folder, 500)
    job = build_bench_job(folder / name, manifest, config)
    setup, logger, step = setup_training(job), MetricLogger(job, quiet=True), 0
    stream = iterate_batches(job, setup.fabric)

    def run() -> None:
        nonlocal step
        train_step(setup, next(stream), step, logger)
        step += 1

    for _ in range(job.steps_per_epoch + 1):
        run()
    return run


def serve(args: dict[str, Any]) -> None:
    """Answer each line of standard input, the name of a piece of work, with the processor seconds of its steps."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = {name: build_network(args["clips"], channels_last=name == NETWORKS[1]) for name in NETWORKS}
        for name in args["methods"]:
            work[name] = build_loop(name, Path(args["folder"]), Path(folder), args["batch_size"])
        print("ready", flush=True)
        for line in sys.stdin:
            began_s = time.process_time()
            for _ in range(args["steps"]):
                work[line.strip()]()
            print((time.process_time() - began_s) / args["steps"], flush=True)


def start(checkout: Path, args: Args) -> "subprocess.Popen[str]":
    """A process of one checkout, ready to work."""
    given = json.dumps(dataclasses.asdict(args), default=str)
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", given]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "ready\n":
        if not line:
            raise SystemExit(f"{checkout} did not start")
    return process


def ask(process: "subprocess.Popen[str]", name: str) -> float:
    """Processor seconds of a step in one of the two processes."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main(args: Args) -> None:
    old, new = start(args.old, args), start(args.new, args)
    print("| work | old, ms | new, ms | old / new |\n|---|---|---|---|")
    for name in (*NETWORKS, *args.methods):
        pairs = [(ask(old, name), ask(new, name)) for _ in range(args.rounds + 1)][1:]
        ratios = sorted(before / after for before, after in pairs)
        before_s, after_s = (statistics.median(column) for column in zip(*pairs, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {1000 * before_s:.0f} | {1000 * after_s:.0f} | {spread} |", flush=True)
    for process in (old, new):
        process.communicate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
    else:
        main(tyro.cli(Args))
