"""S3D: Inception with every 3x3x3 convolution factorised into a spatial and a temporal one, without gating.

    clip 3x16x112x112 -> 64x8x56x56 | pool | 192x8x28x28 | pool | 480x8x14x14 | pool | 832x4x7x7 | pool -> 1024x2x3x3

Weight for weight the layout of torchvision's `s3d` without its classifier. `norm_eps` is the epsilon of its batch
norms, 1e-3 as in TensorFlow's network; the S3D of CoCLR, DualVar and IICv2 has 1e-5.
Source: Xie et al. 2018. 7.910048 M parameters.
"""

import torch
from torch import Tensor, nn

from unreel.models.backbones.r3d import build_flat_conv3d

# One row per Inception block: widths of the 1x1x1 branch, of the two 3x3x3 branches (inner, outer), of the pooled one.
STAGE_WIDTHS = (
    ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64)),
    (
        (192, (96, 208), (16, 48), 64),
        (160, (112, 224), (24, 64), 64),
        (128, (128, 256), (24, 64), 64),
        (112, (144, 288), (32, 64), 64),
        (256, (160, 320), (32, 128), 128),
    ),
    ((256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128)),
)
InceptionWidths = tuple[int, tuple[int, int], tuple[int, int], int]


EPSILON = 1e-3  # of batch norm, as in torchvision and TensorFlow


class SelfGating(nn.Module):
    """Each channel times a number between 0 and 1, from a linear layer on the averages of all channels.

    Source: Xie et al. 2018 (S3D-G), feature gating.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, T, H, W) to the same shape."""
        return x * self.fc(x.mean(dim=(2, 3, 4))).sigmoid()[:, :, None, None, None]


def build_conv_unit(
    num_in: int, num_out: int, kernel: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)
) -> nn.Module:
    """Convolution, batch norm, ReLU. torchvision's batch norm averages over 1000 steps; ours over PyTorch's 10, since
    a run may be shorter than 1000 steps."""
    conv = build_flat_conv3d(num_in, num_out, kernel, stride)
    return nn.Sequential(conv, nn.BatchNorm3d(num_out, eps=EPSILON), nn.ReLU(inplace=True))


def build_separable_conv(num_in: int, num_out: int, size: int, stride: int = 1) -> nn.Module:
    """1 x size x size unit, then size x 1 x 1 unit; each has its part of the stride."""
    space = build_conv_unit(num_in, num_out, (1, size, size), (1, stride, stride))
    return nn.Sequential(space, build_conv_unit(num_out, num_out, (size, 1, 1), (stride, 1, 1)))


class InceptionBlock(nn.Module):
    """Four parallel branches, concatenated along the channels; with `gating`, each has a gate of its own."""

    def __init__(self, num_in: int, widths: InceptionWidths, gating: bool = False) -> None:
        super().__init__()
        plain, (inner1, outer1), (inner2, outer2), pooled = widths
        point = (1, 1, 1)
        self.branches = nn.ModuleList(
            [
                build_conv_unit(num_in, plain, point),
                nn.Sequential(build_conv_unit(num_in, inner1, point), build_separable_conv(inner1, outer1, 3)),
                nn.Sequential(build_conv_unit(num_in, inner2, point), build_separable_conv(inner2, outer2, 3)),
                nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), build_conv_unit(num_in, pooled, point)),
            ]
        )
        outputs = (plain, outer1, outer2, pooled)
        self.num_out = sum(outputs)
        self.gates = nn.ModuleList([SelfGating(width) for width in outputs]) if gating else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, T, H, W) to (B, num_out, T, H, W)."""
        maps = [branch(x) for branch in self.branches]
        if self.gates is not None:
            maps = [gate(y) for gate, y in zip(self.gates, maps, strict=True)]
        return torch.cat(maps, dim=1)


class S3D(nn.Module):
    """Stem, and three stages of Inception blocks with a max-pool before each. Initialisation: PyTorch's own."""

    num_features = 1024

    def __init__(self, in_channels: int = 3, gating: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [build_separable_conv(in_channels, 64, 7, 2), build_spatial_pool()]
        layers += [build_conv_unit(64, 64, (1, 1, 1)), build_separable_conv(64, 192, 3)]
        pools = (build_spatial_pool(), nn.MaxPool3d(3, stride=2, padding=1), nn.MaxPool3d(2))
        num_in = 192
        for pool, stage in zip(pools, STAGE_WIDTHS, strict=True):
            layers.append(pool)
            for widths in stage:
                block = InceptionBlock(num_in, widths, gating)
                layers.append(block)
                num_in = block.num_out
        self.layers = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) to the last map (B, 1024, T / 8, H / 32, W / 32), not pooled."""
        return self.layers(clips)


def build_spatial_pool() -> nn.Module:
    """Max over 1x3x3, half the height and width."""
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1))


def build(in_channels: int = 3, norm_eps: float = EPSILON) -> nn.Module:
    """S3D: 1024 features, 7.910048 M parameters."""
    network = S3D(in_channels)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = norm_eps
    return network
