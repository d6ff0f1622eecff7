"""Clips per second of one process with all threads, and of several on the same cores, in alternation.

    python benchmarks/processes.py VIDEOS [--rounds 3] [--steps 40] [--options --backbone tiny]

The global batch and the cores are the same: `--devices 1` uses all threads, `--devices N` divides them. The figure of a
run is the median over its log lines except the first; all figures, their medians and the ratio are printed. As no core
is added, the ratio is at most about 1: the rest is lost to communication, or threads use the cores better. A run is
stopped after its last step, before its monitors and report.
"""

import csv
import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import tyro

LOG_STEPS = 5


@dataclasses.dataclass
class Args:
    """What to time."""

    videos: tyro.conf.Positional[Path]
    devices: int = 2
    rounds: int = 3
    steps: int = 40
    options: Annotated[tuple[str, ...], tyro.conf.arg(help="More options of unreel pretrain.")] = ()


def measure_clips_per_s(args: Args, devices: int, run: Path) -> float:
    """The median over the log lines of a run except the first."""
    threads = max(1, torch.get_num_threads() // devices)
    fixed = f"--steps 1000000 --log-steps {LOG_STEPS} --monitor-epochs 100000 --workers 0 --checkpoint-minutes 1000"
    command = [sys.executable, "-m", "unreel", "pretrain", str(args.videos), "--out", str(run), *fixed.split()]
    command += ["--devices", str(devices), "--threads", str(threads), *args.options]
    with (run.parent / f"{run.name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        while len(rates := read_rates(run)) < max(2, args.steps // LOG_STEPS):
            if process.poll() is not None:
                said = Path(log.name).read_text(errors="replace").strip().splitlines()
                raise SystemExit(said[-1] if said else f"unreel pretrain ended with code {process.returncode}")
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait()
    return statistics.median(rates[1:])


def read_rates(run: Path) -> list[float]:
    """Clips per second of every whole log line so far."""
    path = run / "metrics.csv"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [float(row["clips_per_s"]) for row in csv.DictReader(line for line in lines if line.endswith("\n"))]


def main(args: Args) -> None:
    rates: dict[int, list[float]] = {1: [], args.devices: []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.rounds):
            for devices, figures in rates.items():
                figures.append(measure_clips_per_s(args, devices, Path(folder) / f"{turn}-{devices}"))
                print(f"{devices} processes: {figures[-1]:.1f} clips/s", flush=True)
    for devices, figures in rates.items():
        each = ", ".join(f"{value:.1f}" for value in figures)
        print(f"{devices} processes: median {statistics.median(figures):.1f} clips/s ({each})")
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print(f"ratio {args.devices} to 1: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main(tyro.cli(Args))
