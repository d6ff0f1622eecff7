"""R3D-18, also called ResNet-18-3D: the classic 18-layer 3D ResNet, two basic blocks per stage.

Weight for weight the layout of torchvision's `r3d_18` without its classifier, written here from the paper.
Source: Hara et al. 2018; Tran et al. 2018, table 1 (R3D). 33.166272 M parameters.
"""

from torch import nn

from unreel.models.backbones.r3d import (
    BasicBlock,
    ConvFactory,
    ResNet3D,
    Triple,
    build_flat_conv3d,
    init_he_normal,
)

STRIDES = (((1, 1, 1), *[(2, 2, 2)] * 3), ((1, 1, 1), *[(1, 2, 2)] * 3))  # plain, mixed


def build_mixed_block(num_in: int, num_out: int, stride: Triple, conv: ConvFactory, num_wide: int = 64) -> nn.Module:
    """A basic block; after the first stage, which has `num_wide` channels, its kernels span one frame."""

    def flat(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
        return build_flat_conv3d(num_in, num_out, (1, *kernel[1:]), stride)

    return BasicBlock(num_in, num_out, stride, conv if num_out == num_wide else flat)


def build(in_channels: int = 3, mixed: bool = False) -> nn.Module:
    """R3D-18: 512 features, 33.166272 M parameters; with `mixed` MC3-18 (Tran et al. 2018), 11.49024 M, in which only
    stem and first stage see motion and time is not strided: torchvision's `mc3_18`.

    Initialisation: He-normal by fan-out (He et al. 2015), batch norm at 1 and 0, as torchvision does.
    """
    block = build_mixed_block if mixed else BasicBlock
    network = ResNet3D((2, 2, 2, 2), strides=STRIDES[mixed], in_channels=in_channels, block=block)
    init_he_normal(network)
    return network
