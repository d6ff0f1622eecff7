"""Layers that pad and begin as TensorFlow's do.

Padding SAME gives ceil(n / stride) outputs, and puts the odd pixel of padding at the end: a 7x7 kernel of stride 2 on
an even picture has 2 before and 3 behind, where PyTorch's padding has 3 and 3, so everything lies a pixel further on.
Source: tensorflow/models, official/vision/modeling/backbones/resnet_3d.py; `padding="SAME"` as TensorFlow documents it.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from unreel.models.backbones.r3d import Triple, build_flat_conv3d
from unreel.models.backbones.r3d50 import LayerStyle

TRUNCATED_STD = 0.87962566103423978  # of a normal distribution that is cut off at two standard deviations


def pad_same(x: Tensor, kernel: Triple, stride: Triple, value: float = 0.0) -> Tensor:
    """x (B, C, T, H, W), padded as SAME pads it for this kernel and stride.

    >>> import torch
    >>> pad_same(torch.ones(1, 1, 1, 1, 4), (1, 1, 3), (1, 1, 2)).flatten()
    tensor([1., 1., 1., 1., 0.])
    """
    pads: list[int] = []
    for length, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max(0, (math.ceil(length / s) - 1) * s + k - length)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value) if any(pads) else x


class SameConv3d(nn.Conv3d):
    """A convolution with SAME padding; `padding` stays 0, since it depends on the input."""

    keeps_class_in_2d = True

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, T, H, W) to (B, num_out, ceil(T / stride), ...)."""
        kernel, stride = self.kernel_size, self.stride
        return super().forward(pad_same(x, kernel, stride))  # type: ignore[arg-type]


class SameMaxPool3d(nn.MaxPool3d):
    """A max-pool with SAME padding, which never wins."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C, ceil(T / stride), ...)."""
        return super().forward(pad_same(x, self.kernel_size, self.stride, -math.inf))  # type: ignore[arg-type]


def build_same_conv(num_in: int, num_out: int, kernel: Triple, stride: Triple) -> nn.Module:
    """A convolution without bias; where no stride moves the padding, the one that a CPU computes faster."""
    if stride == (1, 1, 1):
        return build_flat_conv3d(num_in, num_out, kernel, stride)
    return SameConv3d(num_in, num_out, kernel, stride, bias=False)


def build_same_pool() -> nn.Module:
    """Max over 1x3x3, half the height and width."""
    return SameMaxPool3d((1, 3, 3), (1, 2, 2))


def init_variance_scaling(network: nn.Module) -> None:
    """Convolutions drawn from a normal distribution cut off at two deviations, of variance 1 / fan-in.

    Source: Keras' initialiser "VarianceScaling" with its defaults, which the release names.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            std = math.sqrt(1 / module.weight[0].numel()) / TRUNCATED_STD
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)


TENSORFLOW_STYLE = LayerStyle(build_same_conv, build_same_conv, build_same_pool, init_variance_scaling)
