"""CVRL's operations against explicit twins: TensorFlow's sampler of boxes, colours in HSV, blur with zeros."""

import colorsys
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from torch import Tensor

from unreel.views.geometric import sample_crop_boxes as sample_even_boxes
from unreel.views.photometric import JITTER_ORDERS
from unreel.views.tensorflow_operations import (
    NUM_UNIFORMS,
    apply_color_operations,
    color_jitter,
    gaussian_blur,
    grayscale,
    random_resized_crop,
    sample_crop_boxes,
)

HEIGHT, WIDTH = 256, 341  # of frames that crops of 224 are cut from
NUM_DRAWS = 100_000


def uniforms(batch: int, count: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, count, generator=torch.Generator().manual_seed(seed))


def random_clips(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_slowly(height: int, width: int, count: int, seed: int) -> np.ndarray:
    """Boxes (count, 4: top, left, height, width) as TensorFlow's sampler draws them: attempts until one fits."""
    rng, boxes, pending = np.random.default_rng(seed), np.zeros((count, 4), np.int64), np.arange(count)
    boxes[:] = (0, 0, height, width)
    for _ in range(100):
        n = len(pending)
        aspect = rng.uniform(0.5, 2.0, n)
        low = np.rint(np.sqrt(0.3 * height * width / aspect))
        high = np.rint(np.sqrt(1.0 * height * width / aspect))
        cut = np.trunc((width + 0.5 - 1e-7) / aspect)
        cut -= np.rint(cut * aspect) > width
        high = np.minimum(np.where(np.rint(high * aspect) > width, cut, high), height)
        low = np.minimum(low, high)
        h = low + np.floor(rng.random(n) * (high - low + 1))
        h += h * np.rint(h * aspect) < 0.3 * height * width
        h -= h * np.rint(h * aspect) > 1.0 * height * width
        w = np.rint(h * aspect)
        fits = (h * w >= 0.3 * height * width) & (h * w <= height * width) & (h <= height) & (w <= width)
        top = np.floor(rng.random(n) * np.maximum(height - h, 1))
        left = np.floor(rng.random(n) * np.maximum(width - w, 1))
        boxes[pending[fits]] = np.stack([top, left, h, w], axis=1)[fits]
        pending = pending[~fits]
    return boxes


@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (341, 192)])
def test_boxes_follow_tensorflows_law(height: int, width: int) -> None:
    """Areas, heights, widths and places of 1e5 boxes, a little blurred so that whole numbers do not tie."""
    u = uniforms(NUM_DRAWS, NUM_UNIFORMS["random_resized_crop"])
    found, slow = sample_crop_boxes(u, height, width).numpy(), draw_slowly(height, width, NUM_DRAWS, seed=1)
    noise = np.random.default_rng(2).random((2, NUM_DRAWS, 4)) - 0.5
    for k in range(4):
        assert kstest(found[:, k] + noise[0, :, k], slow[:, k] + noise[1, :, k]).pvalue > 1e-3, k
    areas = [(boxes[:, 2] * boxes[:, 3]) / (height * width) for boxes in (found, slow)]
    assert kstest(*areas).pvalue > 1e-3
    assert areas[0].min() >= 0.3 and areas[0].max() <= 1
    assert (found[:, :2] >= 0).all() and (found[:, 0] + found[:, 2] <= height).all()
    assert (found[:, 1] + found[:, 3] <= width).all()


def test_the_law_is_not_that_of_an_even_area() -> None:
    """What METHODS calls the corrected law: large crops are rarer, so the mean area is lower."""
    boxes = sample_crop_boxes(uniforms(20_000, 202), HEIGHT, WIDTH)
    even = sample_even_boxes(uniforms(20_000, 22), HEIGHT, WIDTH)
    means = [float((b[:, 2] * b[:, 3]).double().mean()) / (HEIGHT * WIDTH) for b in (boxes, even)]
    assert means[0] < means[1] - 0.01
    slack = HEIGHT - boxes[:, 2]
    assert (boxes[:, 0] < slack)[slack > 0].all()  # the last place is never taken


def test_a_box_that_never_fits_is_the_whole_frame() -> None:
    """A frame of 100 x 5: no box of the allowed aspects has three tenths of its area."""
    assert sample_crop_boxes(uniforms(3, 202), 100, 5).tolist() == [[0, 0, 100, 5]] * 3


def test_a_resized_crop_is_its_box_resized() -> None:
    clips, u = random_clips(0, 4, 3, 2, 40, 52), uniforms(4, 202).double()
    out = random_resized_crop(clips, u, 24)
    for b, (top, left, height, width) in enumerate(sample_crop_boxes(u, 40, 52).tolist()):
        box = clips[b, :, :, top : top + height, left : left + width]
        resized = torch.nn.functional.interpolate(box, size=(24, 24), mode="bilinear", align_corners=False)
        assert torch.allclose(out[b], resized, atol=1e-9)


# --- colours, pixel by pixel in Python's floats


def clipped(value: float) -> float:
    return min(1.0, max(0.0, value))


def slow_color(op: int, pixels: list[list[float]], amount: float) -> list[list[float]]:
    """One operation on all pixels of a clip."""
    if op == 0:
        return [[clipped(c * amount) for c in p] for p in pixels]
    if op == 1:
        means = [sum(p[k] for p in pixels) / len(pixels) for k in range(3)]
        return [[clipped((c - m) * amount + m) for c, m in zip(p, means, strict=True)] for p in pixels]
    hsv = [colorsys.rgb_to_hsv(*p) for p in pixels]
    if op == 2:
        return [list(colorsys.hsv_to_rgb(h, clipped(s * amount), v)) for h, s, v in hsv]
    return [list(colorsys.hsv_to_rgb((h + amount) % 1, s, v)) for h, s, v in hsv]


def as_pixels(clip: Tensor) -> list[list[float]]:
    return clip.permute(1, 2, 3, 0).reshape(-1, 3).tolist()


@pytest.mark.parametrize(
    ("op", "amount"), [(0, 0.2), (0, 1.8), (1, 0.3), (1, 1.8), (2, 0.0), (2, 0.6), (2, 1.9), (3, 0.2), (3, -0.17)]
)
def test_each_colour_operation_against_its_twin(op: int, amount: float) -> None:
    clips = random_clips(op, 2, 3, 3, 4, 4)
    clips[0, :, 0, 0, 0] = 0.4  # grey, black, white and two equal channels have a hue or saturation of their own
    clips[0, :, 0, 0, 1], clips[0, :, 0, 0, 2], clips[0, :2, 0, 0, 3] = 0.0, 1.0, 0.9
    out = apply_color_operations(clips, torch.full((2, 1), op), [torch.full((2,), amount, dtype=torch.float64)] * 4)
    for b in range(2):
        assert np.allclose(as_pixels(out[b]), slow_color(op, as_pixels(clips[b]), amount), atol=1e-9)


def test_jitter_is_the_four_in_the_drawn_order() -> None:
    """Every one of the 24 orders once, each clip with its own amounts, against the twin; then one that is left out."""
    num = len(JITTER_ORDERS)
    clips, u = random_clips(0, num + 1, 3, 2, 3, 3), uniforms(num + 1, 6, seed=1).double()
    u[:, 0], u[:num, 5] = 0.3, (torch.arange(num) + 0.5) / num
    u[num, 0] = 0.81
    out = color_jitter(clips, u, 0.8, 0.8, 0.8, 0.2, p=0.8)
    for b, order in enumerate(JITTER_ORDERS):
        low_high = [(0.2, 1.8)] * 3 + [(-0.2, 0.2)]
        amounts = [low + (high - low) * float(u[b, k + 1]) for k, (low, high) in enumerate(low_high)]
        pixels = as_pixels(clips[b])
        for op in order:
            pixels = slow_color(op, pixels, amounts[op])
        assert np.allclose(as_pixels(out[b]), pixels, atol=1e-9)
    assert torch.equal(out[num], clips[num])


def test_grey_has_tensorflows_weights() -> None:
    clips = random_clips(0, 2, 3, 2, 3, 3)
    out = grayscale(clips, torch.tensor([[0.1], [0.3]]), p=0.2)
    for pixel, grey in zip(as_pixels(clips[0]), as_pixels(out[0]), strict=True):
        assert grey == pytest.approx([0.2989 * pixel[0] + 0.5870 * pixel[1] + 0.1140 * pixel[2]] * 3, abs=1e-12)
    assert torch.equal(out[1], clips[1])


def test_blur_sees_zeros_beyond_the_border() -> None:
    """Every pixel as a sum over the taps that fall on the picture; 5 taps at 40 pixels, 23 at 224."""
    clips, u = random_clips(0, 1, 3, 2, 40, 40), torch.tensor([[0.0, 0.5]], dtype=torch.float64)
    out, sigma, radius = gaussian_blur(clips, u, p=0.1), 0.1 + 1.9 * 0.5, 2
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1)]
    for y, x in ((0, 0), (1, 39), (20, 17)):
        total = sum(
            taps[dy + radius] * taps[dx + radius] * float(clips[0, 1, 1, y + dy, x + dx])
            for dy in range(-radius, radius + 1)
            for dx in range(-radius, radius + 1)
            if 0 <= y + dy < 40 and 0 <= x + dx < 40
        )
        assert float(out[0, 1, 1, y, x]) == pytest.approx(total / sum(taps) ** 2, abs=1e-9)
    spread = gaussian_blur(torch.eye(224)[None, None, None].double(), u, p=1.0)[0, 0, 0, 112] > 0
    assert int(spread.sum()) == 2 * 11 + 2 * 11 + 1  # the diagonal blurred over 23 taps each way


def test_still_clips_stay_still_and_every_order_is_drawn() -> None:
    frame, u = random_clips(3, 400, 3, 1, 4, 4).expand(-1, -1, 3, -1, -1), uniforms(400, 6, seed=2).double()
    out = color_jitter(frame, u, 0.8, 0.8, 0.8, 0.2, p=0.8)
    assert torch.allclose(out[:, :, :1].expand_as(out), out, atol=1e-12)
    changed = (out != frame).flatten(1).any(dim=1)
    assert abs(float(changed.double().mean()) - 0.8) < 0.08
    counts = np.bincount((u[:, 5] * 24).long().numpy(), minlength=24)
    assert chisquare(counts).pvalue > 1e-3
