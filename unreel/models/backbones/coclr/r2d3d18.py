"""R2D3D-18 of DPC: see r2d3d.py. Source: Han, Xie, Zisserman 2019 (DPC)."""

from torch import nn

from unreel.models.backbones.coclr.r2d3d import R2D3D


def build(in_channels: int = 3) -> nn.Module:
    """R2D3D-18: 256 features."""
    return R2D3D((2, 2, 2, 2), is_deep=False, in_channels=in_channels)
