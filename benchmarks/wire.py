"""Bytes that each of many processes sends in a step, and memory per instance, for every method: counted, not measured.

    python benchmarks/wire.py [--processes 256] [--rows 4] [--backbone r3d] [--gbit 100]

One process runs one step of each method as if it were one of many: stand-ins for the collectives return its own rows
and add up bytes. A ring is assumed: gathering x bytes from each of N processes sends (N - 1) x from each, and summing x
bytes sends 2 (N - 1) / N x. DDP sums the gradients once; FSDP gathers the weights twice and reduces the gradients once.
"Equal at" is the number of rows of a process at which gathering sends as much as the gradients. Seconds are bytes over
the rate of the network, without overlap. Memory is the difference between two sizes of corpus.
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
    """The processes, the rows of the batch that each takes, and the network."""

    processes: int = 256
    rows: int = 4
    backbone: str = "r3d"
    gbit: float = 100.0


def count_collectives(size: int) -> Counter[str]:
    """Replace torch's collectives by stand-ins for `size` processes; counts the bytes that each sends, by kind."""
    sent_bytes: Counter[str] = Counter()

    def all_gather(parts: list[Tensor], x: Tensor, **_: Any) -> None:
        sent_bytes["joined"] += (size - 1) * x.numel() * x.element_size()
        for part in parts:
            part.copy_(x)

    def all_reduce(x: Tensor, **_: Any) -> None:
        kind = "joined back" if x.ndim > 1 else "batch norm"
        sent_bytes[kind] += 2 * (size - 1) * x.numel() * x.element_size() // size

    dist.is_initialized = lambda: True
    dist.get_world_size, dist.get_rank = (lambda *_: size), (lambda *_: 0)
    dist.all_gather, dist.all_reduce = all_gather, all_reduce  # type: ignore[assignment]
    return sent_bytes


def build_instances(count: int) -> list[Instance]:
    return [Instance(f"{i // 3}.mp4", i // 3, 10.0 * (i % 3), 10.0 * (i % 3) + 10) for i in range(count)]


def build_method(preset: str, backbone: str, count: int) -> tuple[Any, Any]:
    config, _ = load_preset(preset)
    config = dataclasses.replace(config, queue_size=65_536) if getattr(config, "queue_size", 0) else config
    return load_method_module(preset).Method(build_backbone(backbone), build_instances(count), config, 0), config


def run_step(method: Any, config: Any, rows: int) -> None:
    """One step on small clips; the bytes that are sent do not depend on their size."""
    spec = config.view_spec(32)
    recipe = config.recipe(spec, 0)
    shape = (rows, recipe.num_clips, 16 + spec.lead_in, *spec.resize_hw, 3)
    index = torch.arange(rows) * 3
    clips = Clips(torch.randint(0, 256, shape, dtype=torch.uint8), index, index // 3, index.double(), epoch=0)
    method(recipe(clips)).loss.backward()
    method.after_step()


def count_memory_bytes(method: Any) -> int:
    """Bytes of the buffers that grow with the corpus or a queue."""
    return sum(b.numel() * b.element_size() for n, b in method.named_buffers() if n.split(".")[-1] in MEMORY)


def main(args: Args) -> None:
    torch.set_num_threads(1)
    presets = sorted(find_methods())
    fewer, more = ({p: count_memory_bytes(build_method(p, "tiny", n)[0]) for p in presets} for n in (1000, 2000))
    sent_bytes = count_collectives(args.processes)
    print(f"{args.processes} processes of {args.rows} rows, {args.backbone}; MB that each sends in a step")
    names = ("method", "M weights", "gradients", "joined", "joined back", "batch norm", "together", "s/step", "FSDP")
    print("".join(f"{name:>13}" for name in (*names, "equal at", "MB a million")))
    for preset in presets:
        sent_bytes.clear()
        method, config = build_method(preset, args.backbone, 3 * args.rows)
        run_step(convert_sync_batch_norm(method.train()), config, args.rows)
        weights = sum(p.numel() for p in method.parameters() if p.requires_grad)
        gradients = 2 * (args.processes - 1) / args.processes * weights * FLOAT
        teacher = sum(p.numel() for p in method.parameters() if not p.requires_grad)
        fsdp = (3 * weights + teacher) * FLOAT * (args.processes - 1) / args.processes
        rest = [sent_bytes[kind] for kind in ("joined", "joined back", "batch norm")]
        total = gradients + sum(rest)
        seconds, spread = total * 8 / args.gbit / 1e9, fsdp + sum(rest)
        joined = sent_bytes["joined"] + sent_bytes["joined back"]
        equal = f"{args.rows * gradients / joined:.0f}" if joined else "-"
        grows = (more[preset] - fewer[preset]) / 1000
        sizes = "".join(f"{n / 1e6:13.2f}" for n in (weights, gradients, *rest, total))
        print(f"{preset:>13}{sizes}{seconds:13.4f}{spread / 1e6:13.2f}{equal:>13}{grows:13.0f}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
