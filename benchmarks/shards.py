"""Memory of weights, gradients and AdamW's averages in a process with `--shard on`: counted, nothing is allocated.

python benchmarks/shards.py [--processes 2] [--networks r3d18 r3d152:width=2]
"""

import dataclasses
from typing import Any

import torch
import tyro
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

from unreel.models.fsdp import iter_blocks, shard_weights
from unreel.models.registry import build_backbone

COPIES, BYTES = 4, 4  # weights, gradients, two averages; float32


@dataclasses.dataclass
class Args:
    """What to count."""

    networks: tuple[str, ...] = ("r3d18", "r3d152:width=2")
    processes: int = 2


def main(args: Args) -> None:
    torch.distributed.init_process_group("fake", rank=0, world_size=args.processes, store=FakeStore())
    mesh = init_device_mesh("cpu", (args.processes,), mesh_dim_names=("data_parallel",))
    print(f"| network | weights | GB in one process | GB in each of {args.processes} | blocks | weights of largest |")
    print("|---|---|---|---|---|---|")
    for name in args.networks:
        backbone, _, width = name.partition(":width=")
        with torch.device("meta"):
            network = build_backbone(backbone, **({"width": int(width)} if width else {}))
        block_sizes = [sum(p.numel() for p in block.parameters()) for block in iter_blocks(network)]
        shard_weights(network, mesh)
        weights: list[Any] = list(network.parameters())  # DTensors, cut by shard_weights
        num_local = sum(weight.to_local().numel() for weight in weights)
        num_all = sum(weight.numel() for weight in weights)
        size = " | ".join(f"{COPIES * BYTES * count / 1e9:.3f}" for count in (num_all, num_local))
        print(f"| {name} | {num_all:,} | {size} | {len(block_sizes)} | {max(block_sizes):,} |")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(tyro.cli(Args))
