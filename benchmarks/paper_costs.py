"""What the tables of the three papers cost, by calculation: arithmetic of each training and test, and GPU hours.

    python benchmarks/paper_costs.py [--tflops 300] [--docs docs/papers.md]

Counts the FLOPs of the networks (by torch, on the meta device; a multiplication and an addition are two) and multiplies
by clips, epochs and videos as the papers and their releases state them. A GPU hour is `tflops` sustained: 300 TFLOP/s
are 30 % of the dense bfloat16 peak of an H100. 3D convolutions of small channels reach less, and decoding is not
counted, so these are lower limits. `--docs FILE` puts the table between `<!-- costs -->` and `<!-- end of costs -->`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import tyro

from unreel.io.atomic_write import atomic_write_text
from unreel.models.registry import build_backbone
from unreel.profiling.flops import StepFlops, count_flops

BEGIN, END = "<!-- costs -->\n", "<!-- end of costs -->"
# Training and test videos of the lists that the papers use.
UCF101, HMDB51 = (9537, 3783), (3570, 1530)  # split 1
K400, K600 = (215570, 17706), (366016, 27780)


class Job(NamedTuple):
    """One training or one pass of features: clips of a video that go forward and back, forward alone, and how often."""

    name: str
    backbone: str
    num_frames: int
    size: int
    videos: int
    epochs: int
    trained_clips: int
    other_clips: int = 0
    options: tuple[tuple[str, int], ...] = ()


JOBS = [
    # IIC: two views and, without gradient, the intra-negative; retrieval of 10 clips, two views.
    Job("IIC, pre-training, UCF101", "r3d", 16, 112, UCF101[0], 240, 2, 1),
    Job("IIC, retrieval, UCF101", "r3d", 16, 112, sum(UCF101), 1, 0, 20),
    Job("IIC, fine-tuning, UCF101", "r3d", 16, 112, UCF101[0] - 800, 150, 1),
    Job("IIC, R(2+1)D, pre-training, UCF101", "r21d", 16, 112, UCF101[0], 240, 2, 1),
    Job("IIC, C3D, pre-training, UCF101", "c3d", 16, 112, UCF101[0], 240, 2, 1),
    Job("IICv2, R3D-18, pre-training, UCF101", "r3d18", 16, 112, UCF101[0], 240, 2, 1),
    # CVRL: two clips; the linear classifier sees 32 frames, and 30 views of a test video.
    Job("CVRL, pre-training, Kinetics-400, 200 epochs", "r3d50", 16, 224, K400[0], 200, 2),
    Job("CVRL, pre-training, Kinetics-400, 800 epochs", "r3d50", 16, 224, K400[0], 800, 2),
    Job("CVRL, pre-training, Kinetics-600, 800 epochs", "r3d50", 16, 224, K600[0], 800, 2),
    Job("CVRL, R3D-152, twice as wide, Kinetics-600", "r3d152", 16, 224, K600[0], 800, 2, 0, (("width", 2),)),
    Job("CVRL, linear, Kinetics-400, training", "r3d50", 32, 224, K400[0], 100, 0, 1),
    Job("CVRL, linear, Kinetics-400, test", "r3d50", 32, 256, K400[1], 1, 0, 30),
    # DualVar: two clips, the third one plain and shuffled.
    Job("DualVar, pre-training, UCF101", "r21d", 16, 112, UCF101[0], 200, 4),
    Job("DualVar, pre-training, Kinetics-400", "r21d", 16, 112, K400[0], 200, 4),
    Job("DualVar, fine-tuning, UCF101, 150 epochs", "r21d", 16, 112, UCF101[0] - 800, 150, 1),
    Job("DualVar, retrieval, UCF101", "r21d", 16, 112, sum(UCF101), 1, 0, 10),
]


@dataclass(frozen=True)
class Args:
    """How fast the GPU is, and where the table goes."""

    tflops: float = 300.0
    docs: Path | None = None


def count_clip(job: Job) -> StepFlops:
    """FLOPs of one clip through the network."""
    with torch.device("meta"):
        network = build_backbone(job.backbone, **dict(job.options))
        clip = torch.zeros(1, 3, job.num_frames, job.size, job.size)
        return count_flops(lambda: network(clip).sum())


def count_job(job: Job) -> tuple[float, float]:
    """GFLOP of a clip forward, and FLOP of the whole job."""
    clip = count_clip(job)
    video = job.trained_clips * clip.total + job.other_clips * clip.forward
    return clip.forward / 1e9, float(video) * job.videos * job.epochs


def write_table(tflops: float) -> str:
    lines = [
        f"| job | network, clip | GFLOP a clip, forward | EFLOP in all | hours at {tflops:g} TFLOP/s |",
        "|---|---|---|---|---|",
    ]
    for job in JOBS:
        clip_gflop, total = count_job(job)
        network, hours = f"{job.backbone}, {job.num_frames} x {job.size}", total / (tflops * 1e12) / 3600
        cells = [
            job.name,
            network,
            f"{clip_gflop:.1f}",
            f"{total / 1e18:.3g}",
            f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(args: Args) -> None:
    table = write_table(args.tflops)
    print(table)
    if args.docs:
        before, _, rest = args.docs.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        atomic_write_text(args.docs, f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
