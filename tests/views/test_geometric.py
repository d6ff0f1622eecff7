"""Crops, flips, blur and solarise against slow explicit twins, and the contract of every operation."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare, kstest
from torch import Tensor

from unreel.errors import InputError
from unreel.views import geometric, photometric


def uniforms(batch: int, count: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, count, generator=torch.Generator().manual_seed(seed))


def random_clips(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


NUM_UNIFORMS = geometric.NUM_UNIFORMS | photometric.NUM_UNIFORMS
# Every random operation, with probability one half where it has one.
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "random_crop": partial(geometric.random_crop, size=16),
    "random_resized_crop": partial(geometric.random_resized_crop, size=16),
    "horizontal_flip": partial(geometric.horizontal_flip, p=0.5),
    "color_jitter": partial(photometric.color_jitter, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.5),
    "grayscale": partial(photometric.grayscale, p=0.5),
    "gaussian_blur": partial(photometric.gaussian_blur, sigma=(0.5, 2.0), p=0.5),
    "solarize": partial(photometric.solarize, p=0.5),
}


def test_draws_names_every_operation() -> None:
    assert set(OPERATIONS) == set(NUM_UNIFORMS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_static_clip_stays_static(name: str) -> None:
    static = random_clips(8, 3, 1, 20, 24).expand(-1, -1, 5, -1, -1)
    out = OPERATIONS[name](static, uniforms(8, NUM_UNIFORMS[name]))
    assert out.shape[2] == 5
    assert torch.allclose(out, out[:, :, :1].expand_as(out), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_own_row_alone(name: str) -> None:
    """A clip alone, or among others in another order, gives the same; and another row gives something else."""
    clips, u = random_clips(12, 3, 4, 20, 24), uniforms(12, NUM_UNIFORMS[name])
    out, back = OPERATIONS[name](clips, u), OPERATIONS[name](clips.flip(0), u.flip(0)).flip(0)
    alone = torch.cat([OPERATIONS[name](clips[b : b + 1], u[b : b + 1]) for b in range(12)])
    assert torch.allclose(out, alone, atol=1e-6) and torch.allclose(out, back, atol=1e-6)
    assert not torch.allclose(out, OPERATIONS[name](clips, u.roll(1, 0)), atol=1e-3)


@pytest.mark.parametrize("name", OPERATIONS)
def test_range_dtype_and_input_are_kept(name: str) -> None:
    clips, u = random_clips(8, 3, 4, 20, 24), uniforms(8, NUM_UNIFORMS[name])
    before = clips.clone()
    out = OPERATIONS[name](clips, u)
    assert torch.equal(clips, before)
    assert out.dtype == clips.dtype and out.is_contiguous()
    assert out.min() >= 0 and out.max() <= 1 + 1e-6
    assert OPERATIONS[name](clips.double(), u).dtype == torch.float64
    assert torch.isfinite(OPERATIONS[name](clips, torch.full_like(u, 1 - 2**-24))).all()


@pytest.mark.parametrize("name", ["horizontal_flip", "color_jitter", "grayscale", "gaussian_blur", "solarize"])
def test_chance_of_acting(name: str) -> None:
    """With p = 0.3 about 30 % of 4000 clips change; with p = 0 none and with p = 1 all."""
    clips, u = random_clips(1, 3, 1, 8, 8).expand(4000, -1, -1, -1, -1), uniforms(4000, NUM_UNIFORMS[name])

    def changed(p: float) -> float:
        out = partial(OPERATIONS[name], p=p)(clips, u)
        return float((out != clips).flatten(1).any(dim=1).float().mean())

    assert changed(0.0) == 0 and changed(1.0) == 1
    assert abs(changed(0.3) - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5


def positions(batch: int, height: int, width: int) -> Tensor:
    """Clips whose pixel (y, x) holds y * width + x in every frame."""
    return torch.arange(height * width).float().view(1, 1, 1, height, width).expand(batch, 3, 2, -1, -1)


def test_random_crop_is_a_window_evenly_placed() -> None:
    out = geometric.random_crop(positions(3000, 8, 9), uniforms(3000, 2), 6).int()
    corner = out[:, 0, 0, 0, 0]
    window = torch.arange(6)[:, None] * 9 + torch.arange(6)
    assert (out == (corner[:, None, None] + window)[:, None, None]).all()
    counts = torch.stack([corner // 9, corner % 9], 1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 3 * 4 and chisquare(counts).pvalue > 1e-3


def test_crops_by_indexing() -> None:
    clips = random_clips(3, 3, 4, 20, 24)
    u = torch.tensor([[0.0, 0.0], [0.5, 0.99], [0.999999, 0.25]])
    out = geometric.random_crop(clips, u, 16)
    for b, (top, left) in enumerate([(0, 0), (2, 8), (4, 2)]):
        assert torch.equal(out[b], clips[b, :, :, top : top + 16, left : left + 16])
    assert torch.equal(geometric.center_crop(clips, 16), clips[:, :, :, 2:18, 4:20])
    assert torch.equal(geometric.center_crop(clips, 19), clips[:, :, :, 0:19, 2:21])
    assert torch.equal(geometric.random_crop(clips[..., :20], u, 20), clips[..., :20])


@pytest.mark.parametrize(
    "crop", [geometric.center_crop, lambda clips, size: geometric.random_crop(clips, uniforms(2, 2), size)]
)
def test_crop_larger_than_the_frame(crop: Callable[[Tensor, int], Tensor]) -> None:
    with pytest.raises(InputError, match="crop of 21 x 21 does not fit frames of 20 x 24"):
        crop(torch.zeros(2, 3, 1, 20, 24), 21)


def test_random_resized_crop_is_crop_then_resize() -> None:
    clips, u = random_clips(20, 3, 2, 40, 52).double(), uniforms(20, 22).double()
    out = geometric.random_resized_crop(clips, u, 24)
    boxes = torch.stack(geometric.sample_crop_boxes(u, 40, 52, (0.3, 1), (0.5, 2)), dim=1).tolist()
    for b, (top, left, height, width) in enumerate(boxes):
        box = clips[b, :, :, top : top + height, left : left + width]
        expected = F.interpolate(box, size=(24, 24), mode="bilinear", align_corners=False)
        assert torch.allclose(out[b], expected, atol=1e-9)


def test_boxes_are_inside_and_have_the_asked_area_and_aspect() -> None:
    top, left, height, width = geometric.sample_crop_boxes(uniforms(20000, 22), 128, 171, (0.3, 1.0), (0.5, 2.0))
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 128).all() and (left + width <= 171).all()
    whole = (height == 128) & (width == 171)
    assert whole.float().mean() < 1e-3
    area, aspect = (height * width / (128 * 171))[~whole], (width / height)[~whole]
    assert area.min() > 0.29 and area.max() <= 1 and aspect.min() > 0.49 and aspect.max() < 2.03
    slack = 128 - height
    assert kstest(((top + uniforms(20000, 1, seed=3)[:, 0]) / (slack + 1))[slack > 0], "uniform").pvalue > 1e-3


def test_boxes_follow_rejection_sampling() -> None:
    """Area and aspect have the distribution of drawing both evenly until the box fits, drawn here one by one."""
    generator = torch.Generator().manual_seed(9)
    expected = []
    while len(expected) < 4000:
        area, aspect = torch.rand(2, generator=generator).tolist()
        area, aspect = 0.3 + 0.7 * area, 0.5 + 1.5 * aspect
        height, width = (area * 100 * 120 / aspect) ** 0.5, (area * 100 * 120 * aspect) ** 0.5
        if height < 100.5 and width < 120.5:
            expected.append((height, width))
    boxes = geometric.sample_crop_boxes(uniforms(4000, 22), 100, 120, (0.3, 1.0), (0.5, 2.0))
    blur = uniforms(4000, 2, seed=4) - 0.5
    for k in (0, 1):
        assert kstest((boxes[2 + k] + blur[:, k]).numpy(), [pair[k] for pair in expected]).pvalue > 1e-3


def test_a_box_that_never_fits_is_the_whole_frame() -> None:
    boxes = geometric.sample_crop_boxes(torch.full((2, 22), 0.999), 20, 24, (0.3, 1.0), (0.5, 2.0))
    assert torch.stack(boxes, 1).tolist() == [[0, 0, 20, 24]] * 2


def test_flip_mirrors_left_and_right() -> None:
    clips = random_clips(2, 3, 2, 4, 5)
    out = geometric.horizontal_flip(clips, torch.tensor([[0.2], [0.7]]), p=0.5)
    assert torch.equal(out[0], clips[0][..., [4, 3, 2, 1, 0]]) and torch.equal(out[1], clips[1])


def slow_blur(plane: Tensor, sigma: float, radius: int) -> Tensor:
    """A 2D Gaussian by its sum over neighbours, borders reflected, in float64."""
    height, width = plane.shape
    reach = range(-radius, radius + 1)
    weight = {(i, j): torch.tensor(-(i * i + j * j) / (2 * sigma**2)).double().exp() for i in reach for j in reach}
    total = sum(weight.values())

    def reflect(k: int, length: int) -> int:
        k = abs(k)
        return k if k < length else 2 * (length - 1) - k

    out = torch.zeros_like(plane)
    for y in range(height):
        for x in range(width):
            for (i, j), w in weight.items():
                out[y, x] += w * plane[reflect(y + i, height), reflect(x + j, width)] / total
    return out


def test_blur_against_a_slow_sum() -> None:
    clips = random_clips(2, 3, 2, 40, 42).double()
    u = torch.tensor([[0.0, 0.25], [0.0, 0.9]], dtype=torch.float64)
    out = photometric.gaussian_blur(clips, u, sigma=(0.1, 2.0), p=1.0)
    for b, c, t in ((0, 0, 0), (1, 2, 1)):
        expected = slow_blur(clips[b, c, t, :9, : 9 + 2], 0.1 + 1.9 * float(u[b, 1]), radius=2)
        assert torch.allclose(out[b, c, t, :7, :9], expected[:7, :9], atol=1e-9)
    assert torch.allclose(photometric.gaussian_blur(torch.ones(2, 3, 1, 40, 42), u, p=1.0), torch.ones(1), atol=1e-6)


def test_blur_reflects_at_the_far_border() -> None:
    clips = random_clips(1, 1, 1, 20, 20).double()
    u = torch.tensor([[0.0, 0.5]], dtype=torch.float64)
    out = photometric.gaussian_blur(clips, u, p=1.0)
    assert torch.allclose(out[0, 0, 0], slow_blur(clips[0, 0, 0], 1.05, radius=1), atol=1e-9)


def test_blur_of_112_pixels_has_11_taps() -> None:
    point = torch.zeros(1, 1, 1, 112, 112)
    point[..., 50, 50] = 1
    out = photometric.gaussian_blur(point, torch.tensor([[0.0, 0.999]]), p=1.0)
    assert (out[0, 0, 0, 50] > 0).sum() == 11 and (out[0, 0, 0, :, 50] > 0).sum() == 11


def test_solarize_and_normalize_by_hand() -> None:
    clips = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).view(1, 1, 1, 1, 5).expand(1, 3, 2, 1, 5)
    assert photometric.solarize(clips, torch.zeros(1, 1), p=1.0)[0, 0, 0, 0].tolist() == [0, 0.25, 0.5, 0.25, 0]
    out = photometric.normalize(clips, (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    assert out[0, :, 1, 0, 3].tolist() == [0.75, 0.5, -1.0]
