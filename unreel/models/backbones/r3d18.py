"""R3D-18, also called ResNet-18-3D: the classic 18-layer 3D ResNet, two basic blocks per stage.

Weight for weight the layout of torchvision's `r3d_18` without its classifier, written here from the paper.
Source: Hara et al. 2018; Tran et al. 2018, table 1 (R3D). 33.166272 M parameters.
"""

from torch import nn

from unreel.models.backbones.r3d import ResNet3D, init_he_normal


def build(in_channels: int = 3) -> nn.Module:
    """R3D-18: 512 features, 33.166272 M parameters.

    Initialisation: He-normal by fan-out (He et al. 2015), batch norm at 1 and 0, as torchvision does.
    """
    network = ResNet3D(blocks=(2, 2, 2, 2), in_channels=in_channels)
    init_he_normal(network)
    return network
