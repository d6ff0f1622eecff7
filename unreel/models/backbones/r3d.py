"""R3D: the small 3D ResNet of the clip-order and inter-intra papers, one basic block per stage.

    clip 3x16x112x112 -> stem 64x16x56x56 -> 64x16x56x56 -> 128x8x28x28 -> 256x4x14x14 -> 512x2x7x7

Source: Xu et al. 2019 (VCOP), as used by Tao, Wang, Yamasaki 2020 (IIC). Not torchvision's r3d_18, which
has two blocks a stage and is in r3d18.py. 14.361792 M parameters.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

Triple = tuple[int, int, int]
ConvFactory = Callable[[int, int, Triple, Triple], nn.Module]
BlockFactory = Callable[[int, int, Triple, ConvFactory], nn.Module]


class TemporalConv3d(nn.Conv3d):
    """A kx1x1 convolution, which a CPU computes as a faster 2D one over (T, H * W) (docs/performance.md).

    Weight (num_out, num_in / groups, k, 1, 1), no bias; the padding keeps T up to the stride.
    """

    def __init__(self, num_in: int, num_out: int, num_frames: int, stride: int = 1, groups: int = 1) -> None:
        padding = (num_frames // 2, 0, 0)
        super().__init__(num_in, num_out, (num_frames, 1, 1), (stride, 1, 1), padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, T, H, W) to (B, num_out, T / stride, H, W)."""
        if x.device.type != "cpu":
            return super().forward(x)
        stride, padding = (self.stride[0], 1), (int(self.padding[0]), 0)
        plane = F.conv2d(x.flatten(3), self.weight.flatten(3), self.bias, stride, padding, 1, self.groups)
        return plane.unflatten(3, x.shape[3:])


class SpatialConv3d(nn.Conv3d):
    """A 1xkxk convolution, which a CPU computes as a 2D one on every frame: faster in R(2+1)D and S3D, not in `tiny`.

    Weight (num_out, num_in, 1, k, k), no bias; the padding keeps H and W up to the stride; T has none.
    """

    def __init__(self, num_in: int, num_out: int, size: int, stride: int = 1) -> None:
        padding = (0, size // 2, size // 2)
        super().__init__(num_in, num_out, (1, size, size), (1, stride, stride), padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, T, H, W) to (B, num_out, T, H / stride, W / stride)."""
        if x.device.type != "cpu":
            return super().forward(x)
        frames, padding = x.transpose(1, 2).flatten(0, 1), (int(self.padding[1]), int(self.padding[2]))
        flat = F.conv2d(frames, self.weight.squeeze(2), self.bias, self.stride[1:], padding)
        return flat.unflatten(0, (len(x), x.shape[2])).transpose(1, 2)


def build_flat_conv3d(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
    """A convolution over frames or over the picture alone; a CPU computes both as 2D ones."""
    if kernel[0] == stride[0] == 1:
        return SpatialConv3d(num_in, num_out, kernel[1], stride[1])
    return build_conv3d(num_in, num_out, kernel, stride)


def build_conv3d(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
    """A plain 3D convolution with padding that keeps the size up to the stride; no bias, since batch norm follows."""
    if kernel[0] > 1 and kernel[1:] == stride[1:] == (1, 1):
        return TemporalConv3d(num_in, num_out, kernel[0], stride[0])
    return nn.Conv3d(
        num_in, num_out, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2), bias=False
    )


def init_he_normal(network: nn.Module) -> None:
    """Convolutions drawn He-normal by fan-out. Source: He et al. 2015."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build_shortcut(num_in: int, num_out: int, stride: Triple, conv: ConvFactory = build_conv3d) -> nn.Module:
    """The identity, or a 1x1x1 convolution and batch norm where the shape changes."""
    if num_in == num_out and stride == (1, 1, 1):
        return nn.Identity()
    return nn.Sequential(conv(num_in, num_out, (1, 1, 1), stride), nn.BatchNorm3d(num_out))


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN plus a shortcut, ReLU after the sum; the shortcut is 1x1x1 conv + BN where shapes differ."""

    def __init__(self, num_in: int, num_out: int, stride: Triple, conv: ConvFactory = build_conv3d) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(num_in, num_out, (3, 3, 3), stride), nn.BatchNorm3d(num_out)
        self.conv2, self.bn2 = conv(num_out, num_out, (3, 3, 3), (1, 1, 1)), nn.BatchNorm3d(num_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = build_shortcut(num_in, num_out, stride, conv)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, T, H, W) to (B, num_out, T / stride, H / stride, W / stride)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y.add_(self.shortcut(x)))


class ResNet3D(nn.Module):
    """Stem and stages; `conv` builds every convolution, `block` every block, so one class serves the whole family.

    Initialisation: PyTorch's own, as in the released networks. With batch norm after every convolution it does not
    change the first output, but its smaller weights take larger relative steps than He's at the same learning rate.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (1, 1, 1, 1),
        widths: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[Triple] = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        stem_stride: Triple = (1, 2, 2),
        conv: ConvFactory = build_conv3d,
        in_channels: int = 3,
        block: BlockFactory = BasicBlock,
    ) -> None:
        super().__init__()
        self.num_features = widths[-1]
        stem = conv(in_channels, widths[0], (3, 7, 7), stem_stride)
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(widths[0]), nn.ReLU(inplace=True))
        stages: list[nn.Module] = []
        num_in = widths[0]
        for depth, width, stride in zip(blocks, widths, strides, strict=True):
            first = block(num_in, width, stride, conv)
            stages.append(nn.Sequential(first, *(block(width, width, (1, 1, 1), conv) for _ in range(depth - 1))))
            num_in = width
        self.stages = nn.Sequential(*stages)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) to the last map (B, num_features, T', H', W'), not pooled: T / 8, H / 16 for R3D."""
        return self.stages(self.stem(clips))


def build(in_channels: int = 3) -> nn.Module:
    """R3D: 512 features, 14.361792 M parameters."""
    return ResNet3D(in_channels=in_channels)
