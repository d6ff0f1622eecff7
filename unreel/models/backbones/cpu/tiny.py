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

from torch import nn

from unreel.models.backbones.r3d import ResNet3D, TemporalConv3d, Triple, build_conv3d


def build_channel_separated_conv(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
    """A 3x3x3 convolution as 1x3x3 over all channels, then 3x1x1 in each channel; stem and shortcuts stay plain."""
    if kernel != (3, 3, 3):
        return build_conv3d(num_in, num_out, kernel, stride)
    space = build_conv3d(num_in, num_out, (1, 3, 3), (1, *stride[1:]))
    return nn.Sequential(space, TemporalConv3d(num_out, num_out, 3, stride[0], groups=num_out))


def build(in_channels: int = 3) -> nn.Module:
    """tiny: 128 features, 0.3156 M parameters, map 128 x T/4 x H/16 x W/16. Initialisation: PyTorch's own."""
    return ResNet3D(
        widths=(16, 32, 64, 128),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
        stem_stride=(1, 4, 4),
        conv=build_channel_separated_conv,
        in_channels=in_channels,
    )
