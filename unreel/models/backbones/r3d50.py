"""R3D-50: CVRL's network, the slow pathway of SlowFast with a 5-frame stem of temporal stride 2.

    clip 3x16x224x224 -> stem 64x8x112x112 -> max 1x3x3 -> 256x8x56x56 -> 512x8x28x28 -> 1024x8x14x14 -> 2048x8x7x7

All blocks are 1x1x1, 1x3x3, 1x1x1 bottlenecks; in the last two stages the first of the three is 3x1x1. The modules are
registered in the order of torchvision's resnet50, so that its 2D weights can be inflated (inflate.py).
Source: Qian et al. 2021 (CVRL). 31.672128 M parameters at width 1.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from unreel.models.backbones.r3d import (
    ConvFactory,
    Triple,
    build_conv3d,
    build_flat_conv3d,
    build_shortcut,
    init_he_normal,
)

TEMPORAL_KERNELS = (1, 1, 3, 3)


class LayerStyle(NamedTuple):
    """How the layers are built: the stem's convolution, those of the blocks, the pool, and the initial weights."""

    stem: ConvFactory
    conv: ConvFactory
    pool: Callable[[], nn.Module]
    initialize: Callable[[nn.Module], None]


def build_symmetric_pool() -> nn.Module:
    """Max over 1x3x3, half the height and width, a pixel of padding on all sides."""
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1))


PYTORCH_STYLE = LayerStyle(build_conv3d, build_flat_conv3d, build_symmetric_pool, init_he_normal)
"""Symmetric padding; He-normal by fan-out, batch norm at 1 and 0."""


def build_slow_stem(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
    """The stem of SlowFast's own slow pathway, 1x7x7, which does not stride time."""
    return build_conv3d(num_in, num_out, (1, *kernel[1:]), (1, *stride[1:]))


SLOW_STYLE = PYTORCH_STYLE._replace(stem=build_slow_stem)


class Bottleneck(nn.Module):
    """conv-BN-ReLU three times, the last ReLU after the sum; the spatial stride lies in the 1x3x3 convolution."""

    def __init__(
        self, num_in: int, num_mid: int, temporal_kernel: int, stride: Triple, conv: ConvFactory = build_flat_conv3d
    ) -> None:
        super().__init__()
        num_out = 4 * num_mid
        once = (1, 1, 1)
        self.conv1, self.bn1 = conv(num_in, num_mid, (temporal_kernel, 1, 1), once), nn.BatchNorm3d(num_mid)
        self.conv2, self.bn2 = conv(num_mid, num_mid, (1, 3, 3), stride), nn.BatchNorm3d(num_mid)
        self.conv3, self.bn3 = conv(num_mid, num_out, (1, 1, 1), once), nn.BatchNorm3d(num_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = build_shortcut(num_in, num_out, stride, conv)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, T, H, W) to (B, 4 num_mid, T, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class SlowPathway(nn.Module):
    """Stem, max-pool and four stages of bottlenecks; `width` multiplies every channel count but the input's."""

    def __init__(
        self, blocks: Sequence[int], in_channels: int = 3, width: int = 1, style: LayerStyle = PYTORCH_STYLE
    ) -> None:
        super().__init__()
        num_in = 64 * width
        stem = style.stem(in_channels, num_in, (5, 7, 7), (2, 2, 2))
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(num_in), nn.ReLU(inplace=True), style.pool())
        stages: list[nn.Module] = []
        for place, (depth, kernel) in enumerate(zip(blocks, TEMPORAL_KERNELS, strict=True)):
            num_mid = 64 * width * 2**place
            layers: list[nn.Module] = []
            for block in range(depth):
                stride = (1, 2, 2) if place > 0 and block == 0 else (1, 1, 1)
                layers.append(Bottleneck(num_in, num_mid, kernel, stride, style.conv))
                num_in = 4 * num_mid
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.num_features = num_in
        style.initialize(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) to the last map (B, 2048 width, T / 2, H / 32, W / 32), not pooled; T stays T with a
        slow stem."""
        return self.stages(self.stem(clips))


def build(in_channels: int = 3, width: int = 1, slow_stem: bool = False) -> nn.Module:
    """R3D-50: 2048 width features, 31.672128 M parameters at width 1; with `slow_stem` Slow-R50, 31.634496 M."""
    return SlowPathway((3, 4, 6, 3), in_channels, width, SLOW_STYLE if slow_stem else PYTORCH_STYLE)
