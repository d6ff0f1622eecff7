"""tiny: a network for two laptop cores, R3D at a quarter of its width, channel-separated in time, stem of stride 4.

    clip 3x16x64x64 -> stem 16x16x16x16 -> 16x16x16x16 -> 32x8x8x8 -> 64x4x4x4 -> 128x4x4x4

All kernels except those of the shortcuts span three frames, and time is not strided before the second stage, so motion
is seen at full rate. Chosen by measurement on clips of 64 pixels: training clips/s (forward and backward, two threads)
at 8 and at 16 frames; accuracy of classifying 8 directions of a drifting random texture after 45 core-seconds of
training at 8 frames (one seed, 192 clips, so a point or two is noise); parameters.

    1x3x3, then depthwise 3x1x1               204  107   97 %   0.32 M   this one
    plain 3x3x3                               166   85   98 %   0.90 M
    (2+1)D                                    117   73          0.91 M
    this one, half as wide again              134   77   91 %   0.70 M
    this one, R3D's stem of stride 2           55   23          0.32 M
    plain 3x3x3, R3D's stem of stride 2        39   19          0.90 M

Source: our own; the depthwise half is after Tran et al. 2019 (CSN).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from unreel.models.backbones.r3d import ResNet3D, Triple, build_conv3d


class TemporalDepthwiseConv3d(nn.Conv3d):
    """A kx1x1 convolution of each channel alone, which a CPU computes as a faster 2D one over (T, H * W).

    A CPU's 3D depthwise kernels are slow (docs/performance.md); elsewhere it is PyTorch's own. Weight (C, 1, k, 1, 1).
    """

    def __init__(self, num_channels: int, num_frames: int, stride: int = 1) -> None:
        kernel, padding = (num_frames, 1, 1), (num_frames // 2, 0, 0)
        super().__init__(num_channels, num_channels, kernel, (stride, 1, 1), padding, groups=num_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C, T / stride, H, W)."""
        if x.device.type != "cpu":
            return super().forward(x)
        stride, padding = (self.stride[0], 1), (int(self.padding[0]), 0)
        plane = F.conv2d(x.flatten(3), self.weight.flatten(3), None, stride, padding, 1, self.groups)
        return plane.unflatten(3, x.shape[3:])


def build_channel_separated_conv(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
    """A 3x3x3 convolution as 1x3x3 over all channels, then 3x1x1 in each channel; stem and shortcuts stay plain."""
    if kernel != (3, 3, 3):
        return build_conv3d(num_in, num_out, kernel, stride)
    space = nn.Conv3d(num_in, num_out, (1, 3, 3), (1, *stride[1:]), padding=(0, 1, 1), bias=False)
    return nn.Sequential(space, TemporalDepthwiseConv3d(num_out, 3, stride[0]))


def build(in_channels: int = 3) -> nn.Module:
    """tiny: 128 features, 0.3156 M parameters, map 128 x T/4 x H/16 x W/16. Initialisation: PyTorch's own."""
    return ResNet3D(
        widths=(16, 32, 64, 128),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
        stem_stride=(1, 4, 4),
        conv=build_channel_separated_conv,
        in_channels=in_channels,
    )
