"""S3D-G as CoCLR and DualVar build it: S3D with a gate behind each branch of each Inception block.

Batch norm has PyTorch's epsilon, and convolutions begin normal with deviation 0.01. The gates of the paper stand behind
the temporal convolutions; here, as in the two releases, behind the whole branch.
Source: Xie et al. 2018 (S3D-G); TengdaHan/CoCLR, lzhangbj/DualVar. 9.098000 M parameters.
"""

from torch import nn

from unreel.models.backbones.s3d import S3D


def build(in_channels: int = 3) -> nn.Module:
    """S3D-G: 1024 features."""
    network = S3D(in_channels, gating=True)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-5
    return network
