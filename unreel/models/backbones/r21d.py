"""R(2+1)D: R3D with every convolution, also of the shortcuts, factorised into a spatial and a temporal one.

The width between the two is chosen so that the pair has as many weights as the 3D convolution it replaces.
Source: Tran et al. 2018; layout of Xu et al. 2019 (VCOP). Not torchvision's r2plus1d_18,
which has two blocks a stage and is in r21d18.py. 14.365303 M parameters.
"""

from torch import nn

from unreel.models.backbones.r3d import ResNet3D, Triple, build_flat_conv3d


def count_mid_channels(num_in: int, num_out: int, kernel: Triple) -> int:
    """Channels between the spatial and the temporal convolution. Source: Tran et al. 2018, section 3.5."""
    kt, kh, kw = kernel
    return (kt * kh * kw * num_in * num_out) // (kh * kw * num_in + kt * num_out)


def build_factorised_conv(
    num_in: int, num_out: int, kernel: Triple, stride: Triple, mid_channels: int | None = None
) -> nn.Module:
    """1 x kh x kw conv to `mid_channels`, BN, ReLU, kt x 1 x 1 conv; each has its part of stride and padding."""
    (kt, kh, kw), (st, sh, sw) = kernel, stride
    mid_channels = count_mid_channels(num_in, num_out, kernel) if mid_channels is None else mid_channels
    return nn.Sequential(
        build_flat_conv3d(num_in, mid_channels, (1, kh, kw), (1, sh, sw)),
        nn.BatchNorm3d(mid_channels),
        nn.ReLU(inplace=True),
        build_flat_conv3d(mid_channels, num_out, (kt, 1, 1), (st, 1, 1)),
    )


def build(in_channels: int = 3) -> nn.Module:
    """R(2+1)D: 512 features, 14.365303 M parameters. Initialisation: PyTorch's own, as released."""
    return ResNet3D(conv=build_factorised_conv, in_channels=in_channels)
