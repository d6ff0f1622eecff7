"""R3D-50 with TensorFlow's padding and first weights; the names of its weights are those of r3d50.

Source: Qian et al. 2021 (CVRL), tensorflow/models. 31.672128 M parameters at width 1.
"""

from torch import nn

from unreel.models.backbones.cvrl_release.tensorflow_layers import TENSORFLOW_STYLE
from unreel.models.backbones.r3d50 import SlowPathway


def build(in_channels: int = 3, width: int = 1) -> nn.Module:
    """R3D-50: 2048 width features, 31.672128 M parameters at width 1."""
    return SlowPathway((3, 4, 6, 3), in_channels, width, TENSORFLOW_STYLE)
