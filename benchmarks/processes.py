"""Clips per second of one process with all threads, and of several on the same cores, in alternation.

    python benchmarks/processes.py VIDEOS [--rounds 3] [--steps 40] [--options --backbone tiny]

The global batch and the cores are the same: `--devices 1` uses all threads, `--devices N` divides them. The figure of a
run is the median over its log lines except the first; all figures, their medians and the ratio are printed. As no core
is added, the ratio is at most about 1: the rest is lost to communication, or threads use the cores better.
"""

import csv
import dataclasses
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import tyro


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
    fixed = f"--steps {args.steps} --log-steps 5 --monitor-epochs 100000 --workers 0 --checkpoint-minutes 1000"
    command = [sys.executable, "-m", "unreel", "pretrain", str(args.videos), "--out", str(run), *fixed.split()]
    command += ["--devices", str(devices), "--threads", str(threads), *args.options]
    subprocess.run(command, check=True, capture_output=True)
    with (run / "metrics.csv").open() as file:
        return statistics.median([float(row["clips_per_s"]) for row in csv.DictReader(file)][1:])


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
