"""What many processes send in a step, and what a method remembers, for every method: counted, not measured.

    python benchmarks/wire.py [--processes 256] [--rows 4] [--backbone r3d] [--gbit 100]

One process runs one step of each method as if it were one of many: the collectives are stand-ins that hand back the own
rows and add up bytes. A ring is assumed: joining x bytes of each of N processes sends (N - 1) x from each, summing x
bytes sends 2 (N - 1) / N x. Gradients are summed once by DDP; FSDP gathers the weights twice and sums once, half of it.
"Equal at" is the rows of a process at which joining sends as much as the gradients. Seconds are bytes over the wire's
rate, as if nothing overlapped. Memory is the difference of two sizes of corpus.
"""

import dataclasses
from collections import Counter
from typing import Any

import torch
import torch.distributed as dist
import tyro
from torch import Tensor

from unreel.methods.registry import find_methods, load_method_module, load_preset
from unreel.models.registry import build_backbone
from unreel.models.sync_batch_norm import convert_sync_batch_norm
from unreel.types import Clips, Instance

FLOAT = 4
MEMORY = ("rows", "video_N", "start_s_N")


@dataclasses.dataclass
class Args:
    """As many processes, each with so many rows of the batch."""

    processes: int = 256
    rows: int = 4
    backbone: str = "r3d"
    gbit: float = 100.0


def count_collectives(size: int) -> Counter[str]:
    """Exchange torch's collectives for stand-ins of `size` processes; bytes that each sends are added up by kind."""
    sent: Counter[str] = Counter()

    def all_gather(parts: list[Tensor], x: Tensor, **_: Any) -> None:
        sent["joined"] += (size - 1) * x.numel() * x.element_size()
        for part in parts:
            part.copy_(x)

    def all_reduce(x: Tensor, **_: Any) -> None:
        kind = "joined back" if x.ndim > 1 else "batch norm"
        sent[kind] += 2 * (size - 1) * x.numel() * x.element_size() // size

    dist.is_initialized = lambda: True
    dist.get_world_size, dist.get_rank = (lambda *_: size), (lambda *_: 0)
    dist.all_gather, dist.all_reduce = all_gather, all_reduce
    return sent


def instances(count: int) -> list[Instance]:
    return [Instance(f"{i // 3}.mp4", i // 3, 10.0 * (i % 3), 10.0 * (i % 3) + 10) for i in range(count)]


def build(preset: str, backbone: str, count: int) -> tuple[Any, Any]:
    config, _ = load_preset(preset)
    config = dataclasses.replace(config, queue_size=65_536) if getattr(config, "queue_size", 0) else config
    return load_method_module(preset).Method(build_backbone(backbone), instances(count), config, 0), config


def step(method: Any, config: Any, rows: int) -> None:
    """One step on small clips: what is sent does not depend on their size."""
    spec = config.view_spec(32)
    recipe = config.recipe(spec, 0)
    shape = (rows, recipe.num_clips, 16 + spec.lead_in, *spec.resize_hw, 3)
    index = torch.arange(rows) * 3
    clips = Clips(torch.randint(0, 256, shape, dtype=torch.uint8), index, index // 3, index.double(), epoch=0)
    method(recipe(clips)).loss.backward()
    method.after_step()


def remembered(method: Any) -> int:
    """Bytes of what grows with the corpus or is as long as a queue."""
    return sum(b.numel() * b.element_size() for n, b in method.named_buffers() if n.split(".")[-1] in MEMORY)


def main(args: Args) -> None:
    torch.set_num_threads(1)
    presets = sorted(find_methods())
    fewer, more = ({p: remembered(build(p, "tiny", n)[0]) for p in presets} for n in (1000, 2000))
    sent = count_collectives(args.processes)
    print(f"{args.processes} processes of {args.rows} rows, {args.backbone}; MB that each sends in a step")
    names = ("method", "M weights", "gradients", "joined", "joined back", "batch norm", "together", "s/step", "FSDP")
    print("".join(f"{name:>13}" for name in (*names, "equal at", "MB a million")))
    for preset in presets:
        sent.clear()
        method, config = build(preset, args.backbone, 3 * args.rows)
        step(convert_sync_batch_norm(method.train()), config, args.rows)
        weights = sum(p.numel() for p in method.parameters() if p.requires_grad)
        gradients = 2 * (args.processes - 1) / args.processes * weights * FLOAT
        teacher = sum(p.numel() for p in method.parameters() if not p.requires_grad)
        fsdp = (3 * weights + teacher) * FLOAT * (args.processes - 1) / args.processes
        rest = [sent[kind] for kind in ("joined", "joined back", "batch norm")]
        total = gradients + sum(rest)
        seconds, spread = total * 8 / args.gbit / 1e9, fsdp + sum(rest)
        joined = sent["joined"] + sent["joined back"]
        equal = f"{args.rows * gradients / joined:.0f}" if joined else "-"
        grows = (more[preset] - fewer[preset]) / 1000
        sizes = "".join(f"{n / 1e6:13.2f}" for n in (weights, gradients, *rest, total))
        print(f"{preset:>13}{sizes}{seconds:13.4f}{spread / 1e6:13.2f}{equal:>13}{grows:13.0f}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
