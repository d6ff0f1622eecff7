"""small: `tiny` at twice the width, for clips of 16 frames.

    clip 3x16x64x64 -> stem 32x16x16x16 -> 32x16x16x16 -> 64x8x8x8 -> 128x4x4x4 -> 256x4x4x4

Source: our own.
"""

from torch import nn

from unreel.models.backbones.cpu.tiny import build_channel_separated_conv
from unreel.models.backbones.r3d import ResNet3D


def build(in_channels: int = 3) -> nn.Module:
    """small: 256 features, 1.2 M parameters, map 256 x T/4 x H/16 x W/16. Initialisation: PyTorch's own."""
    return ResNet3D(
        widths=(32, 64, 128, 256),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
        stem_stride=(1, 4, 4),
        conv=build_channel_separated_conv,
        in_channels=in_channels,
    )
