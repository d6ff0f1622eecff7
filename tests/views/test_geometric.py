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
    boxes = geometric.sample_crop_boxes(u, 40, 52).tolist()
    for b, (top, left, height, width) in enumerate(boxes):
        box = clips[b, :, :, top : top + height, left : left + width]
        expected = F.interpolate(box, size=(24, 24), mode="bilinear", align_corners=False)
        assert torch.allclose(out[b], expected, atol=1e-9)


def test_boxes_are_inside_and_have_the_asked_area_and_aspect() -> None:
    top, left, height, width = geometric.sample_crop_boxes(uniforms(20000, 22), 128, 171).T
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
    boxes = geometric.sample_crop_boxes(uniforms(4000, 22), 100, 120).T
    blur = uniforms(4000, 2, seed=4) - 0.5
    for k in (0, 1):
        assert kstest((boxes[2 + k] + blur[:, k]).numpy(), [pair[k] for pair in expected]).pvalue > 1e-3


def test_a_box_that_never_fits_is_the_whole_frame() -> None:
    boxes = geometric.sample_crop_boxes(torch.full((2, 22), 0.999), 20, 24).T
    assert boxes.T.tolist() == [[0, 0, 20, 24]] * 2


def test_moving_crop_against_the_explicit_twin() -> None:
    """Frames whose pixels hold their own row and column, so that a resized box shows where it was read."""
    height, width, size, frames, count = 40, 52, 24, 5, 60
    row_HW, column_HW = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    clip = torch.stack([row_HW, column_HW, row_HW]).double()[:, None].expand(3, frames, -1, -1)
    u, u_move = uniforms(count, 22).double(), uniforms(count, 4, seed=5).double()
    out = geometric.random_moving_crop(clip.expand(count, -1, -1, -1, -1), u, u_move, size)
    still, num_moved = geometric.random_resized_crop(clip.expand(count, -1, -1, -1, -1), u, size), 0
    for b, box in enumerate(geometric.sample_crop_boxes(u, height, width).tolist()):
        top, left, high, wide = box
        if u_move[b, 0] >= 0.5:
            assert torch.equal(out[b], still[b])
            continue
        zoom, down, right = 0.76 + 0.24 * u_move[b, 1] + 0.12, u_move[b, 2] / 2 - 0.25, u_move[b, 3] / 2 - 0.25
        last_high, last_wide = min(float(high * zoom), height), min(float(wide * zoom), width)
        last_top = min(max(float(top + high / 2 + down * high - last_high / 2), 0), height - last_high)
        last_left = min(max(float(left + wide / 2 + right * wide - last_wide / 2), 0), width - last_wide)
        num_moved += [last_top, last_left] != [top, left]
        for t in range(frames):
            way = t / (frames - 1)
            for channel, (start, end, side, last_side) in enumerate(
                ((top, last_top, high, last_high), (left, last_left, wide, last_wide))
            ):
                begin, length = start + way * (end - start), side + way * (last_side - side)
                expected = [begin + min(max((k + 0.5) * length / size, 0.5), length - 0.5) - 0.5 for k in range(size)]
                read = out[b, channel, t, :, 5] if channel == 0 else out[b, channel, t, 5]
                assert torch.allclose(read, torch.tensor(expected, dtype=torch.float64), atol=1e-9)
    assert num_moved > 20


def test_moving_crops_stay_inside_and_half_of_them_move() -> None:
    u_move, first_B4 = uniforms(4000, 4, seed=6), geometric.sample_crop_boxes(uniforms(4000, 22), 128, 171).float()
    top, left, high, wide = geometric.move_boxes(first_B4, u_move, (128, 171), 0.25, 0.12).T
    assert (top >= 0).all() and (left >= 0).all() and (top + high <= 128.001).all() and (left + wide <= 171.001).all()
    free = (first_B4[:, 2] < 80) & (first_B4[:, 3] < 100)
    assert kstest((high / first_B4[:, 2])[free] - 0.88, "uniform", (0, 0.24)).pvalue > 1e-3
    clips = random_clips(400, 3, 2, 36, 48)
    out = geometric.random_moving_crop(clips, uniforms(400, 22), u_move[:400], 16)
    is_still = (out == geometric.random_resized_crop(clips, uniforms(400, 22), 16)).flatten(1).all(dim=1)
    assert abs(is_still.float().mean() - 0.5) < 0.1


def test_flip_mirrors_left_and_right() -> None:
    clips = random_clips(2, 3, 2, 4, 5)
    out = geometric.horizontal_flip(clips, torch.tensor([[0.2], [0.7]]), p=0.5)
    assert torch.equal(out[0], clips[0][..., [4, 3, 2, 1, 0]]) and torch.equal(out[1], clips[1])
