"""Colour against a per-pixel twin in Python floats, and evenness of what is drawn."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from unreel.views.photometric import JITTER_ORDERS, apply_color_operations, color_jitter, grayscale

R, G, B = 0.299, 0.587, 0.114
Clip = list[tuple[float, float, float]]


def luma(pixel: tuple[float, float, float]) -> float:
    return R * pixel[0] + G * pixel[1] + B * pixel[2]


def clipped(pixels: Clip) -> Clip:
    return [(min(1, max(0, p[0])), min(1, max(0, p[1])), min(1, max(0, p[2]))) for p in pixels]


def blend(pixels: Clip, others: list[float], factor: float) -> Clip:
    """factor * pixel + (1 - factor) * other, as in torchvision's adjust_* functions."""
    pairs = zip(pixels, others, strict=True)
    return clipped([tuple(factor * c + (1 - factor) * o for c in p) for p, o in pairs])  # type: ignore[misc]


def turn_hue(pixels: Clip, turn: float) -> Clip:
    """Rotation of the two chroma axes of YIQ, written out; the axes are those of NTSC (FCC 1953)."""
    angle, out = 2 * math.pi * turn, []
    inverse = np.linalg.inv(np.array([[R, G, B], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]]))
    for r, g, b in pixels:
        i = 0.595716 * r - 0.274453 * g - 0.321263 * b
        q = 0.211456 * r - 0.522591 * g + 0.311135 * b
        turned = (i * math.cos(angle) - q * math.sin(angle), i * math.sin(angle) + q * math.cos(angle))
        out.append(tuple(inverse @ np.array([luma((r, g, b)), *turned])))
    return clipped(out)


def slow(op: int, pixels: Clip, amount: float) -> Clip:
    """One operation on all pixels of all frames of one clip."""
    if op == 0:
        return blend(pixels, [0.0] * len(pixels), amount)
    if op == 1:
        return blend(pixels, [sum(map(luma, pixels)) / len(pixels)] * len(pixels), amount)
    if op == 2:
        return blend(pixels, [luma(p) for p in pixels], amount)
    return turn_hue(pixels, amount)


def random_clips(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_pixels(clip: torch.Tensor) -> Clip:
    return [tuple(p) for p in clip.permute(1, 2, 3, 0).reshape(-1, 3).tolist()]


@pytest.mark.parametrize(
    ("op", "amount"), [(0, 0.4), (0, 1.7), (1, 0.3), (1, 1.8), (2, 0.0), (2, 1.9), (3, 0.2), (3, -0.1)]
)
def test_each_operation_against_its_twin(op: int, amount: float) -> None:
    clips = random_clips(op, 2, 3, 3, 4, 4)
    amounts = [torch.full((2,), amount, dtype=torch.float64)] * 4
    out = apply_color_operations(clips, torch.full((2, 1), op), amounts)
    for b in range(2):
        assert np.allclose(as_pixels(out[b]), slow(op, as_pixels(clips[b]), amount), atol=1e-9)


def test_jitter_is_the_four_in_the_drawn_order() -> None:
    """Every one of the 24 orders once, each clip with its own amounts, against the twin."""
    num = len(JITTER_ORDERS)
    clips, u = random_clips(0, num, 3, 2, 3, 3), random_clips(1, num, 6)
    u[:, 5] = (torch.arange(num) + 0.5) / num
    out = color_jitter(clips, u, 0.8, 0.6, 0.8, 0.2, p=1.0)
    found = set()
    for b, order in enumerate(permutations(range(4))):
        amounts = [1 - x + 2 * x * float(u[b, k + 1]) for k, x in enumerate((0.8, 0.6, 0.8))]
        amounts.append(0.4 * float(u[b, 4]) - 0.2)
        pixels = as_pixels(clips[b])
        for op in order:
            pixels = slow(op, pixels, amounts[op])
        assert np.allclose(as_pixels(out[b]), pixels, atol=1e-9), order
        found.add(order)
    assert found == set(JITTER_ORDERS)


def test_contrast_uses_the_mean_of_the_clip_not_of_each_frame() -> None:
    """A dark and a bright frame: contrast 0 makes both the clip's mean grey, where a mean per frame would keep two."""
    clips = torch.tensor([0.2, 0.6]).view(1, 1, 2, 1, 1).expand(1, 3, 2, 4, 4)
    amounts = [torch.ones(1), torch.zeros(1), torch.ones(1), torch.zeros(1)]
    assert torch.allclose(apply_color_operations(clips, torch.tensor([[1]]), amounts), torch.tensor(0.4), atol=1e-6)


def test_hue_keeps_grey_and_luma() -> None:
    clips = 0.4 + 0.2 * random_clips(0, 2, 3, 2, 4, 4)
    amounts = [torch.full((2,), 0.15, dtype=torch.float64)] * 4
    out = apply_color_operations(clips, torch.tensor([[3], [3]]), amounts)
    weights = torch.tensor([R, G, B], dtype=torch.float64).view(3, 1, 1, 1)
    assert not torch.allclose(out, clips, atol=1e-2)
    assert torch.allclose((out * weights).sum(1), (clips * weights).sum(1), atol=1e-9)
    grey = clips[:, :1].expand(-1, 3, -1, -1, -1)
    assert torch.allclose(apply_color_operations(grey, torch.tensor([[3], [3]]), amounts), grey, atol=1e-5)


def test_values_are_clipped_after_each_operation() -> None:
    """Brightness 1.8 then 0.2-contrast: the clipping in between shows in the result."""
    clips = torch.tensor([0.9, 0.1]).view(1, 1, 2, 1, 1).expand(1, 3, 2, 2, 2)
    order = JITTER_ORDERS.index((0, 1, 2, 3))
    u = torch.tensor([[0.0, 1.0, 0.0, 0.5, 0.5, (order + 0.5) / 24]])
    out = color_jitter(clips, u, 0.8, 0.8, 0.8, 0.2, p=1.0)[0, 0, :, 0, 0]
    mean = (1.0 + 0.18) / 2
    assert torch.allclose(out, torch.tensor([0.2 * 1.0 + 0.8 * mean, 0.2 * 0.18 + 0.8 * mean]), atol=1e-5)


def test_brightness_factor_is_uniform_and_never_negative() -> None:
    u = torch.rand(4000, 6, generator=torch.Generator().manual_seed(0))
    clips = torch.full((4000, 3, 1, 1, 1), 0.25)
    factor = color_jitter(clips, u, 0.4, 0, 0, 0, p=1.0)[:, 0, 0, 0, 0] / 0.25
    assert kstest(factor.numpy(), "uniform", (0.6, 0.8)).pvalue > 1e-3
    wide = color_jitter(clips, u, 2.0, 0, 0, 0, p=1.0)[:, 0, 0, 0, 0] / 0.25
    assert kstest(wide.numpy(), "uniform", (0.0, 3.0)).pvalue > 1e-3


def test_orders_are_even() -> None:
    u = torch.rand(6000, generator=torch.Generator().manual_seed(0))
    assert chisquare(torch.bincount((u * 24).long())).pvalue > 1e-3 and len(JITTER_ORDERS) == 24


def test_no_jitter_at_zero_amounts() -> None:
    clips = random_clips(0, 2, 3, 2, 4, 4)
    assert torch.allclose(color_jitter(clips, random_clips(1, 2, 6), 0, 0, 0, 0, p=1.0), clips, atol=1e-9)


def test_grayscale_is_three_times_luma() -> None:
    clips = random_clips(0, 2, 3, 2, 4, 4)
    out = grayscale(clips, torch.tensor([[0.1], [0.9]]), p=0.2)
    assert np.allclose(as_pixels(out[0]), [[luma(p)] * 3 for p in as_pixels(clips[0])]) and torch.equal(
        out[1], clips[1]
    )
