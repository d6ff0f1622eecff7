"""How fast a training step is on this machine: the bare network, and a whole IIC step beside it, in alternation.

    python benchmarks/step.py --backbone tiny --size 64 --num-frames 8

Prints clips/s of forward and backward (median of the rounds, and their spread), and the share of a whole step (views,
network, loss, memory, optimiser; no decoding) that the bare network on as many clips would take.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
import tyro

from unreel.methods import iic
from unreel.models import build_backbone
from unreel.types import Clips, Instance


@dataclasses.dataclass
class Args:
    """What to time."""

    backbone: str = "tiny"
    size: int = 64
    num_frames: int = 8
    batch_size: int = 16
    rounds: int = 9
    device: str = "cpu"


def seconds(work: Callable[[], None], device: str) -> float:
    began_s = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began_s


def main(args: Args) -> None:
    config, settings = iic.iic()
    spec = iic.Method.view_spec(config, dataclasses.replace(settings, size=args.size))
    recipe = iic.Method.recipe(spec, config, seed=0)
    instances = [Instance(str(i), i, 0.0, 1.0) for i in range(1000)]
    method = iic.Method(build_backbone(args.backbone), instances, config, seed=0).to(args.device)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-4)
    bare = build_backbone(args.backbone).to(args.device)
    shape = (args.batch_size, recipe.num_clips, args.num_frames + spec.lead_in, *spec.resize_hw, 3)
    index = torch.arange(args.batch_size, device=args.device)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=args.device)
    clips = Clips(frames, index, index, index.float(), epoch=0)
    views = 3
    random = torch.rand(views * args.batch_size, 3, args.num_frames, args.size, args.size, device=args.device)

    def network() -> None:
        bare.zero_grad(set_to_none=True)
        bare(random).mean().backward()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        method(recipe(clips)).loss.backward()
        optimizer.step()
        method.after_step()

    taken: dict[str, list[float]] = {"network": [], "step": []}
    for _ in range(args.rounds + 2):
        taken["network"].append(seconds(network, args.device))
        taken["step"].append(seconds(step, args.device))
    alone, whole = taken["network"][2:], taken["step"][2:]
    rates = sorted(views * args.batch_size / s for s in alone)
    ratio = statistics.median(a / w for a, w in zip(alone, whole, strict=True))
    what = f"{args.backbone}, {args.num_frames} x {args.size} x {args.size}, batch {args.batch_size}, {views} views"
    print(f"{what}, {torch.get_num_threads()} threads on {args.device}")
    rate = f"{statistics.median(rates):.0f} clips/s ({rates[0]:.0f} to {rates[-1]:.0f})"
    print(f"bare network, forward and backward: {rate}")
    print(f"bare network / whole IIC step, same clips: {ratio:.2f}")


if __name__ == "__main__":
    main(tyro.cli(Args))
