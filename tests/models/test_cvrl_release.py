"""CVRL's networks as TensorFlow builds them: padding position by position, first weights, names that others share."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kstest, truncnorm
from torch import nn

from unreel.models.backbones.cvrl_release.tensorflow_layers import (
    SameConv3d,
    SameMaxPool3d,
    build_same_conv,
    build_same_pool,
    init_variance_scaling,
    pad_same,
)
from unreel.models.backbones.r3d import SpatialConv3d
from unreel.models.registry import build_backbone
from unreel.models.twin_2d import make_2d_twin

Triple = tuple[int, int, int]


def slow_same_conv(x: torch.Tensor, weight: torch.Tensor, stride: Triple) -> torch.Tensor:
    """One output position at a time; beyond the input there is 0. Before it: half of the padding, rounded down."""
    kernel, lengths = weight.shape[2:], x.shape[2:]
    counts = [math.ceil(n / s) for n, s in zip(lengths, stride, strict=True)]
    befores = [max(0, (c - 1) * s + k - n) // 2 for c, s, k, n in zip(counts, stride, kernel, lengths, strict=True)]
    out = torch.zeros(len(x), len(weight), *counts, dtype=x.dtype)
    for position in torch.cartesian_prod(*(torch.arange(c) for c in counts)).tolist():
        for tap in torch.cartesian_prod(*(torch.arange(k) for k in kernel)).tolist():
            t, y, z = (p * s - b + k for p, s, b, k in zip(position, stride, befores, tap, strict=True))
            if all(0 <= i < n for i, n in zip((t, y, z), lengths, strict=True)):
                out[:, :, *position] += x[:, :, t, y, z] @ weight[:, :, *tap].T
    return out


@pytest.mark.parametrize(
    ("kernel", "stride", "shape"),
    [((5, 3, 3), (2, 2, 2), (6, 6, 7)), ((1, 3, 3), (1, 2, 2), (2, 5, 6)), ((1, 1, 1), (1, 2, 2), (1, 4, 5))],
)
def test_a_strided_convolution_position_by_position(kernel: Triple, stride: Triple, shape: Triple) -> None:
    torch.manual_seed(0)
    conv = SameConv3d(2, 3, kernel, stride, bias=False).double()
    x = torch.randn(2, 2, *shape, dtype=torch.float64)
    torch.testing.assert_close(conv(x), slow_same_conv(x, conv.weight.detach(), stride))


def test_where_symmetric_padding_lies_a_pixel_off() -> None:
    """An impulse at the first pixel: 2 pixels before it are enough for SAME, PyTorch has 3."""
    picture = torch.zeros(1, 1, 1, 1, 8)
    assert pad_same(picture, (1, 1, 7), (1, 1, 2)).shape[4] == 8 + 5
    assert pad_same(picture, (1, 1, 3), (1, 1, 1)).shape[4] == 8 + 2
    assert pad_same(picture, (1, 1, 1), (1, 1, 2)).shape[4] == 8
    padded = pad_same(torch.ones(1, 1, 1, 1, 8), (1, 1, 7), (1, 1, 2)).flatten().tolist()
    assert padded == [0] * 2 + [1] * 8 + [0] * 3


def test_the_pool_never_takes_its_padding() -> None:
    x = -torch.rand(1, 2, 2, 6, 6) - 1
    expected = F.max_pool3d(F.pad(x, (0, 1, 0, 1), value=-100.0), (1, 3, 3), (1, 2, 2))
    assert torch.equal(build_same_pool()(x), expected) and expected.max() < 0


def test_only_strided_layers_differ_from_r3d50() -> None:
    """Same names and shapes, so that weights go from one to the other; with no stride, the same arithmetic."""
    with torch.device("meta"):
        ours, plain = build_backbone("r3d50tf"), build_backbone("r3d50")
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in plain.state_dict().items()}
    same = [name for name, m in ours.named_modules() if isinstance(m, SameConv3d | SameMaxPool3d)]
    strided = [f"stages.{s}.0.{part}" for s in (1, 2, 3) for part in ("conv2", "shortcut.0")]
    assert same == ["stem.0", "stem.3", *strided]
    assert isinstance(build_same_conv(4, 4, (1, 3, 3), (1, 1, 1)), SpatialConv3d)


def test_first_weights_are_a_truncated_normal_of_variance_one_over_fan_in() -> None:
    torch.manual_seed(0)
    conv, fan_in = SameConv3d(128, 64, (1, 3, 3), (1, 2, 2), bias=False), 128 * 9
    init_variance_scaling(nn.Sequential(conv))
    weight = conv.weight.detach().flatten()
    assert float(weight.var()) == pytest.approx(1 / fan_in, rel=0.02)
    std = math.sqrt(1 / fan_in) / 0.87962566
    assert float(weight.abs().max()) <= 2 * std
    assert kstest(weight[:20_000].numpy() / std, truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_the_2d_twin_pads_the_same_way() -> None:
    """On a clip of one repeated frame a 3D stem and its twin agree, except where time is padded."""
    torch.manual_seed(0)
    stem = nn.Sequential(SameConv3d(3, 4, (3, 7, 7), (1, 2, 2), bias=False))
    clip = torch.rand(1, 3, 1, 12, 14).expand(-1, -1, 5, -1, -1)
    full = stem(clip)[:, :, 2]
    torch.testing.assert_close(make_2d_twin(stem)(clip)[:, :, 2], full, atol=1e-5, rtol=1e-5)
