"""Crops, resized crops and flips against indexing and rejection sampling."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare, kstest
from torch import Tensor

from unreel.errors import InputError
from unreel.views import geometric


def uniforms(batch: int, count: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, count, generator=torch.Generator().manual_seed(seed))


def random_clips(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


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
