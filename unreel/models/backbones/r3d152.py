"""R3D-152: R3D-50 with 8 and 36 bottlenecks in its middle stages; CVRL's largest network has it twice as wide.

Source: Qian et al. 2021 (CVRL). 327.749248 M parameters at width 2.
"""

from torch import nn

from unreel.models.backbones.r3d50 import SlowPathway


def build(in_channels: int = 3, width: int = 1) -> nn.Module:
    """R3D-152: 2048 width features, 327.749248 M parameters at width 2."""
    return SlowPathway((3, 8, 36, 3), in_channels, width)
