"""R(2+1)D-18: the 18-layer R(2+1)D, two basic blocks per stage.

Weight for weight the layout of torchvision's `r2plus1d_18` without its classifier: 45 channels between the
convolutions of the stem, one width in both convolutions of a block, computed from the input and output of
the block, and shortcuts not factorised.
Source: Tran et al. 2018. 31.300125 M parameters.
"""

from torch import nn

from unreel.models.backbones.r3d import BasicBlock, ConvFactory, ResNet3D, Triple, build_conv3d, init_he_normal
from unreel.models.backbones.r21d import build_factorised_conv, count_mid_channels


def build_factorised_block(num_in: int, num_out: int, stride: Triple, conv: ConvFactory) -> nn.Module:
    """A basic block whose 3x3x3 convolutions are factorised with one width; `conv` makes the shortcut."""
    mid = count_mid_channels(num_in, num_out, (3, 3, 3))

    def pair(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
        if kernel == (1, 1, 1):
            return conv(num_in, num_out, kernel, stride)
        return build_factorised_conv(num_in, num_out, kernel, stride, mid)

    return BasicBlock(num_in, num_out, stride, pair)


def build_stem_or_shortcut(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
    """The stem factorised with 45 channels between, as released; a shortcut not factorised."""
    if kernel == (1, 1, 1):
        return build_conv3d(num_in, num_out, kernel, stride)
    return build_factorised_conv(num_in, num_out, kernel, stride, 45)


def build(in_channels: int = 3) -> nn.Module:
    """R(2+1)D-18: 512 features, 31.300125 M parameters. Initialisation: He-normal by fan-out, as torchvision does."""
    network = ResNet3D(
        blocks=(2, 2, 2, 2), conv=build_stem_or_shortcut, in_channels=in_channels, block=build_factorised_block
    )
    init_he_normal(network)
    return network
