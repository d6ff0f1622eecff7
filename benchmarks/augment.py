"""The full CVRL chain on a batch of clips, ours and kornia's, in alternation: clips/s.

    pip install kornia
    python benchmarks/augment.py [--device cuda] [--size 112] [--num-frames 16] [--batch-size 16]

Resized crop, flip, jitter of brightness, contrast, saturation and hue (chance 0.8), grey (0.2), blur and solarisation
as CVRL's second view has them (0.1, 0.2) and as its first (blur always); one draw for all frames of a clip. Both begin
with the same float clips on the device. kornia is needed by this file alone, and without it only ours is timed.
"""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import torch
import tyro
from timing import seconds
from torch import Tensor

from unreel.methods.registry import load_preset
from unreel.seeding import draw_uniforms
from unreel.views.augmentation import augment_clips
from unreel.views.two_views import select_augmentation

WARM_UP = 2


@dataclasses.dataclass
class Args:
    """What to time."""

    size: int = 112
    num_frames: int = 16
    batch_size: int = 16
    rounds: int = 7
    threads: int = 0
    """0 means torch's own choice."""
    device: str = "cpu"


def ours(which: str, size: int) -> Callable[[Tensor, int], Tensor]:
    """The chain of `cvrl`'s first ("clip0") or second ("clip1") view, its chance drawn as in training."""
    how = select_augmentation(load_preset("cvrl")[0], which)

    def run(clips: Tensor, step: int) -> Tensor:
        rows = range(len(clips))
        return augment_clips(clips, how, lambda op, count: draw_uniforms(0, step, rows, f"{which}/{op}", count), size)

    return run


def kornias(which: str, size: int) -> Callable[[Tensor, int], Tensor] | None:
    """The same chances and amounts in kornia; None where it is not installed."""
    try:
        import kornia.augmentation as K
    except ImportError:
        return None
    taps = 2 * max(1, size // 20) + 1
    blur, solarize = (1.0, 0.0) if which == "clip0" else (0.1, 0.2)
    steps: list[Any] = [
        K.RandomResizedCrop((size, size), scale=(0.3, 1.0), ratio=(0.5, 2.0), align_corners=False),
        K.RandomHorizontalFlip(p=0.5),
        K.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((taps, taps), (0.1, 2.0), p=blur),
    ]
    if solarize:
        steps.append(K.RandomSolarize(0.0, 0.0, p=solarize))
    chain = K.VideoSequential(*steps, data_format="BCTHW", same_on_frame=True)
    return lambda clips, step: chain(clips)


def main(args: Args) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    height, width = round(args.size * 8 / 7), round(args.size * 8 / 7 * 4 / 3)
    clips = torch.rand(args.batch_size, 3, args.num_frames, height, width, device=args.device)
    print(f"{args.batch_size} clips of {args.num_frames} x {height} x {width} to {args.size}; {place(args.device)}\n")
    print("| view | unreel, clips/s | kornia, clips/s | ratio, median (lowest to highest) |\n|---|---|---|---|")
    for view, which in (("first, always blurred", "clip0"), ("second, solarised", "clip1")):
        print(row(view, args, clips, ours(which, args.size), kornias(which, args.size)), flush=True)
    if kornias("clip0", args.size) is None:
        print("\nkornia is not installed: pip install kornia")


def row(view: str, args: Args, clips: Tensor, mine: Any, theirs: Any) -> str:
    """A row of the table."""
    taken: list[list[float]] = [[], []]
    with torch.no_grad():
        for step in range(args.rounds + WARM_UP):
            for run, kept in zip((mine, theirs), taken, strict=True):
                if run is not None:
                    assert run(clips[:1], step).shape[-2:] == (args.size, args.size)
                    kept.append(seconds(lambda run=run, step=step: run(clips, step), args.device))
    rates = [[args.batch_size / s for s in kept[WARM_UP:]] for kept in taken]
    if not rates[1]:
        return f"| {view} | {statistics.median(rates[0]):.1f} | | |"
    ratios = sorted(a / b for a, b in zip(*rates, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {view} | {statistics.median(rates[0]):.1f} | {statistics.median(rates[1]):.1f} | {spread} |"


def place(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main(tyro.cli(Args))
