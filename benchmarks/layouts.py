"""Time of each network on a CPU by memory layout and by the way its flat convolutions are written, in alternation.

    python benchmarks/layouts.py [--networks tiny r21d] [--rounds 3]

A convolution whose kernel is flat, over frames alone (kx1x1) or over the picture alone (1xkxk, 1x1x1), can be computed
as a 2D one with the same weights. Processor time on one thread, so that other work on the machine matters little;
ratios are medians over rounds of (plain 3D, contiguous) / variant.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from unreel.models.memory_layout import move_to_channels_last
from unreel.models.registry import build_backbone

NETWORKS = ("tiny", "tiny-2d", "small", "r3d", "r3d18", "r3d50", "r21d", "r21d18", "s3d", "c3d")
SMALL = (16, 3, 8, 64, 64)
"""Clips (B, C, T, H, W) of `tiny` and `small`; the others get LARGE."""
LARGE = (1, 3, 16, 112, 112)
WRITINGS = ("plain 3D", "time as 2D", "both as 2D")
NETWORKS_WITHOUT_FLAT = ("r3d", "r3d18", "c3d")
"""Their kernels are cubes, but for shortcuts."""
LAYOUTS = ("contiguous", "channels last")


@dataclasses.dataclass
class Args:
    """What to time."""

    networks: tuple[str, ...] = NETWORKS
    rounds: int = 3
    threads: int = 1


class TimeAs2D(nn.Conv3d):
    """A kx1x1 convolution as a 2D one over (T, H * W)."""

    def forward(self, x: Tensor) -> Tensor:
        stride, padding = (self.stride[0], 1), (int(self.padding[0]), 0)
        plane = F.conv2d(x.flatten(3), self.weight.flatten(3), self.bias, stride, padding, 1, self.groups)
        return plane.unflatten(3, x.shape[3:])


class PictureAs2D(nn.Conv3d):
    """A 1xkxk convolution as a 2D one on every frame."""

    def forward(self, x: Tensor) -> Tensor:
        frames = x[:, :, :: self.stride[0]].transpose(1, 2)
        stride, padding = self.stride[1:], self.padding[1:]
        flat = F.conv2d(frames.flatten(0, 1), self.weight.squeeze(2), self.bias, stride, padding, 1, self.groups)
        return flat.unflatten(0, frames.shape[:2]).transpose(1, 2)


def write(network: nn.Module, writing: str) -> nn.Module:
    """The same network with its flat convolutions computed as `writing` says; weights and names stay."""
    time_too, picture_too = writing != WRITINGS[0], writing == WRITINGS[2]
    for conv in network.modules():
        if isinstance(conv, nn.Conv3d):  # unreel's own way is undone first
            is_time, is_picture = conv.kernel_size[1:] == conv.stride[1:] == (1, 1), conv.kernel_size[0] == 1
            conv.__class__ = nn.Conv3d
            if time_too and is_time and conv.kernel_size[0] > 1:
                conv.__class__ = TimeAs2D
            elif picture_too and is_picture:
                conv.__class__ = PictureAs2D
    return network


def build_variants(name: str) -> dict[tuple[str, str], Callable[[bool], None]]:
    """Functions that run the network once, with backward or forward alone, by writing and layout."""
    clips = torch.rand(SMALL if name.startswith(("tiny", "small")) else LARGE)
    variants = {}
    for writing in WRITINGS[:1] if name in NETWORKS_WITHOUT_FLAT else WRITINGS:
        for layout in LAYOUTS:
            torch.manual_seed(0)
            network, x = write(build_backbone(name), writing), clips
            if layout == "channels last":
                move_to_channels_last(network)
                x = clips.contiguous(memory_format=torch.channels_last_3d)

            def run(backward: bool, network: nn.Module = network, x: Tensor = x) -> None:
                network.zero_grad(set_to_none=True)
                with torch.set_grad_enabled(backward):
                    loss = network(x).mean()
                if backward:
                    loss.backward()

            variants[writing, layout] = run
    return variants


def measure_network(name: str, args: Args) -> str:
    """Rows of the table."""
    variants, rows = build_variants(name), []
    times_s: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in variants}
    for _ in range(args.rounds + 1):
        for key, run in variants.items():
            times_s[key].append((measure_processor_seconds(run, False), measure_processor_seconds(run, True)))
    for key, pairs in times_s.items():
        first = times_s[WRITINGS[0], LAYOUTS[0]]
        cells = []
        for column in (1, 0):
            ratios = sorted(f[column] / p[column] for f, p in zip(first[1:], pairs[1:], strict=True))
            median_ms = 1000 * statistics.median(p[column] for p in pairs[1:])
            cells.append(f"{median_ms:.0f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        rows.append(f"| `{name}` | {key[0]} | {key[1]} | {' | '.join(cells)} |")
    return "\n".join(rows)


def measure_processor_seconds(run: Callable[[bool], None], backward: bool) -> float:
    """Processor seconds of one call, over all threads."""
    began_s = time.process_time()
    run(backward)
    return time.process_time() - began_s


def main(args: Args) -> None:
    torch.set_num_threads(args.threads)
    print(
        "| network | flat kernels | layout | forward and backward, ms | times as fast | forward, ms | times as fast |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in args.networks:
        print(measure_network(name, args), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
