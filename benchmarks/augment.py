"""Clips per second of CVRL's full augmentation on a batch of clips: unreel and kornia in alternation.

    pip install kornia
    python benchmarks/augment.py [--device cuda] [--size 112] [--num-frames 16] [--batch-size 16]

Resized crop, flip, jitter of brightness, contrast, saturation and hue (probability 0.8), grey (0.2), blur and
solarisation with the probabilities of CVRL's second view (0.1, 0.2) and of its first (blur 1, no solarisation); one
draw for all frames of a clip. Both start from the same float clips on the device. Without kornia only unreel is timed.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable
from typing import Any

import torch
import tyro
from timing import measure_seconds
from torch import Tensor

from unreel.methods.registry import load_preset
from unreel.seeding import draw_uniforms
from unreel.views.augmentation import augment_clips
from unreel.views.two_views import ClipStream, select_augmentation

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


def build_unreel_chain(stream: ClipStream, size: int) -> Callable[[Tensor, int], Tensor]:
    """The augmentation of `cvrl`'s first ("clip0") or second ("clip1") view, with the random draws of training."""
    augmentation = select_augmentation(load_preset("cvrl")[0], stream)

    def run(clips: Tensor, step: int) -> Tensor:
        rows = range(len(clips))
        return augment_clips(
            clips, augmentation, lambda op, count: draw_uniforms(0, step, rows, f"{stream}/{op}", count), size
        )

    return run


def build_kornia_chain(stream: ClipStream, size: int) -> Callable[[Tensor, int], Tensor] | None:
    """The same probabilities and amounts in kornia; None where it is not installed."""
    try:
        import kornia.augmentation as K
    except ImportError:
        return None
    taps = 2 * max(1, size // 20) + 1
    blur, solarize = (1.0, 0.0) if stream == "clip0" else (0.1, 0.2)
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
    sizes = f"{args.num_frames} x {height} x {width} to {args.size}"
    print(f"{args.batch_size} clips of {sizes}; {describe_device(args.device)}\n")
    print("| view | unreel, clips/s | kornia, clips/s | ratio, median (lowest to highest) |\n|---|---|---|---|")
    views: tuple[tuple[str, ClipStream], ...] = (("first, always blurred", "clip0"), ("second, solarised", "clip1"))
    for view, stream in views:
        print(format_row(view, measure_chains(args, clips, stream)), flush=True)
    if build_kornia_chain("clip0", args.size) is None:
        print("\nkornia is not installed: pip install kornia")


def measure_chains(args: Args, clips: Tensor, stream: ClipStream) -> list[list[float]]:
    """Clips per second of every round, of unreel and of kornia; of kornia none where it is not installed."""
    chains = (build_unreel_chain(stream, args.size), build_kornia_chain(stream, args.size))
    times_s: list[list[float]] = [[], []]
    with torch.no_grad():
        for step in range(args.rounds + WARM_UP):
            for run, chain_s in zip(chains, times_s, strict=True):
                if run is not None:
                    assert run(clips[:1], step).shape[-2:] == (args.size, args.size)
                    chain_s.append(measure_seconds(functools.partial(run, clips, step), args.device))
    return [[args.batch_size / s for s in chain_s[WARM_UP:]] for chain_s in times_s]


def format_row(view: str, rates: list[list[float]]) -> str:
    """A row of the table."""
    if not rates[1]:
        return f"| {view} | {statistics.median(rates[0]):.1f} | | |"
    ratios = sorted(a / b for a, b in zip(*rates, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {view} | {statistics.median(rates[0]):.1f} | {statistics.median(rates[1]):.1f} | {spread} |"


def describe_device(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main(tyro.cli(Args))
