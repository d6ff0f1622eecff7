"""2D twins: a 3D network turned into one that sees each frame alone. inflate.py is the way back."""

from typing import Any

import torch
from torch import nn

from unreel.errors import InputError


def make_2d_twin(network: nn.Module) -> nn.Module:
    """Turn a network, in place, into its 2D twin: no kernel, pool or stride spans frames, so T stays T.

    Kernels are summed along time, which is their effect on a clip of one repeated frame; this also keeps the variance
    of a new network right.

    >>> twin = make_2d_twin(nn.Sequential(nn.Conv3d(3, 8, (5, 7, 7), (2, 2, 2), (2, 3, 3))))
    >>> twin(torch.zeros(1, 3, 4, 32, 32)).shape  # T stays 4
    torch.Size([1, 8, 4, 16, 16])
    """
    for name, child in network.named_children():
        if isinstance(child, nn.Conv3d):
            setattr(network, name, make_2d_conv(child))
        elif isinstance(child, nn.MaxPool3d | nn.AvgPool3d):
            set_2d_pool(child)
        else:
            make_2d_twin(child)
    return network


def make_2d_conv(conv: nn.Conv3d) -> nn.Conv3d:
    """A convolution of one frame: kernel (1, kh, kw), summed along time."""
    padding = conv.padding
    if isinstance(padding, str):
        raise InputError(f"a convolution padded with '{padding}' has no 2D twin; give it its padding in numbers")
    flat = nn.utils.skip_init(
        type(conv) if getattr(conv, "keeps_class_in_2d", False) else nn.Conv3d,
        conv.in_channels,
        conv.out_channels,
        (1, *conv.kernel_size[1:]),
        (1, *conv.stride[1:]),
        (0, *padding[1:]),
        (1, *conv.dilation[1:]),
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():
        flat.weight.copy_(conv.weight.sum(dim=2, keepdim=True))
        if conv.bias is not None:
            flat.bias.copy_(conv.bias)
    return flat


def set_2d_pool(pool: nn.MaxPool3d | nn.AvgPool3d) -> None:
    """Make a pool see one frame at a time."""
    kernel, stride, padding = to_triple(pool.kernel_size), to_triple(pool.stride), to_triple(pool.padding)
    pool.kernel_size, pool.stride, pool.padding = (1, *kernel[1:]), (1, *stride[1:]), (0, *padding[1:])


def to_triple(value: Any) -> tuple[int, int, int]:
    """Three numbers; one number counts for all three axes."""
    return (value, value, value) if isinstance(value, int) else tuple(value)
