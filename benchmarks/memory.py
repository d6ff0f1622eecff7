"""Memory of this process and its loader processes over many draws, which should stay constant.

    python benchmarks/memory.py FOLDER [--draws 20000] [--workers 1] [--cache-mb 0]

A draw opens one instance and decodes a clip of it. Memory is the proportional set size (PSS), in which shared memory
counts once.
"""

import dataclasses
import os
from pathlib import Path

import tyro

from unreel.corpus.inspection import inspect
from unreel.corpus.segments import build_instances
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_training_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec

BATCH, ROWS = 16, 10


@dataclasses.dataclass
class Args:
    """What to draw."""

    source: tyro.conf.Positional[Path]
    draws: int = 20_000
    workers: int = 1
    cache_mb: int = 0


def measure_memory_mb() -> float:
    """PSS of this process and its children."""
    here = os.getpid()
    children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
    return sum(read_pss_kb(pid) for pid in (str(here), *children)) / 1024


def read_pss_kb(pid: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main(args: Args) -> None:
    instances = build_instances(inspect(args.source, check="fast", shots=False))
    clips = ClipDataset(instances, ClipSpec(16), (73, 98), 1, seed=0, cache_mb=args.cache_mb)
    steps = args.draws // BATCH
    print(f"{len(instances)} instances, {args.workers} loader process(es), {args.cache_mb} MB of decoded frames kept\n")
    print("| draws | memory, MB |")
    print("|---|---|")
    for step, _ in enumerate(
        build_training_loader(clips, ResumableBatchSampler(len(instances), BATCH, 0, 0, steps), args.workers, False), 1
    ):
        if step % max(1, steps // ROWS) == 0:
            print(f"| {step * BATCH:,} | {measure_memory_mb():.0f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
