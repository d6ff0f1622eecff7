"""Intra-negatives: what each does to numbered frames, and that chance falls evenly."""

from collections import Counter
from itertools import combinations, permutations

import pytest
import torch
from scipy.stats import chisquare

from unreel.errors import InputError
from unreel.types import Clips
from unreel.views.intra_negatives import (
    INTRA_NEGATIVES,
    repeat_frame,
    rotate_by_quarter,
    rotate_frames,
    shuffle_chunks,
    shuffle_frames,
    shuffle_segments,
)
from unreel.views.residual_frames import ResidualSpec
from unreel.views.two_views import TwoViewOptions


def uniforms(batch: int, count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, count, generator=torch.Generator().manual_seed(seed))


def numbered(batch: int, num_frames: int) -> torch.Tensor:
    """Clips whose frame t is full of t, plus a hundred times the clip's number."""
    frames = torch.arange(num_frames).float().view(1, 1, -1, 1, 1) + 100 * torch.arange(batch).view(-1, 1, 1, 1, 1)
    return frames.expand(-1, 3, -1, 2, 2)


def orders(clips: torch.Tensor) -> list[tuple[int, ...]]:
    """Which frames each clip holds; and every clip kept its own."""
    clip_B = clips[:, 0, 0, 0, 0].div(100, rounding_mode="floor")
    assert clip_B.tolist() == list(range(len(clips)))
    assert (clips == clips[:, :1, :, :1, :1]).all()
    return [tuple(row) for row in (clips[:, 0, :, 0, 0] - 100 * clip_B[:, None]).int().tolist()]


def is_even(counts: list[int]) -> bool:
    return chisquare(counts).pvalue > 1e-3


def test_repeat_is_one_frame_evenly_chosen() -> None:
    found = orders(repeat_frame(numbered(4000, 8), uniforms(4000, 1)))
    assert all(len(set(order)) == 1 and len(order) == 8 for order in found)
    count = Counter(order[0] for order in found)
    assert sorted(count) == list(range(8)) and is_even(list(count.values()))


def test_repeat_by_hand() -> None:
    u = torch.tensor([[0.0], [0.49], [0.5], [0.999999]])
    assert [order[0] for order in orders(repeat_frame(numbered(4, 4), u))] == [0, 1, 2, 3]


def test_shuffle_swaps_two_chunks_evenly() -> None:
    expected = set()
    for i, j in combinations(range(4), 2):
        chunks = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
        chunks[i], chunks[j] = chunks[j], chunks[i]
        expected.add(tuple(t for chunk in chunks for t in chunk))
    count = Counter(orders(shuffle_chunks(numbered(3000, 16), uniforms(3000, 1))))
    assert set(count) == expected and tuple(range(16)) not in count
    assert is_even(list(count.values()))


def test_shuffle_with_another_number_of_chunks() -> None:
    assert set(orders(shuffle_chunks(numbered(50, 6), uniforms(50, 1), num_chunks=2))) == {(3, 4, 5, 0, 1, 2)}


@pytest.mark.parametrize("num_frames", [0, 1, 6, 15])
def test_shuffle_needs_equal_chunks(num_frames: int) -> None:
    with pytest.raises(InputError, match=f"multiple of 4 frames, got {num_frames}"):
        shuffle_chunks(torch.zeros(1, 3, num_frames, 2, 2), torch.zeros(1, 1))


def test_shuffled_frames_are_every_permutation_but_the_identity() -> None:
    count = Counter(orders(shuffle_frames(numbered(12000, 4), uniforms(12000, 4))))
    assert len(count) == 23 and (0, 1, 2, 3) not in count
    assert all(sorted(order) == [0, 1, 2, 3] for order in count)
    twice = count.pop((3, 2, 1, 0))
    assert is_even(list(count.values())) and 800 < twice < 1200


def test_shuffled_frames_by_hand() -> None:
    u = torch.tensor([[0.3, 0.9, 0.1, 0.5], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]])
    assert orders(shuffle_frames(numbered(3, 4), u)) == [(2, 0, 3, 1), (3, 2, 1, 0), (3, 2, 1, 0)]


@pytest.mark.parametrize("segments", [1, 2, 3, 4])
def test_segments_are_every_permutation_and_go_back(segments: int) -> None:
    clips = numbered(2400, 12)
    out, order_BS = shuffle_segments(clips, uniforms(2400, segments), segments)
    assert order_BS.dtype == torch.int64
    length = 12 // segments
    for found, order in zip(orders(out), order_BS.tolist(), strict=True):
        assert found == tuple(s * length + k for s in order for k in range(length))
    count = Counter(map(tuple, order_BS.tolist()))
    assert set(count) == set(permutations(range(segments))) and (segments == 1 or is_even(list(count.values())))
    parts_BSL = out[:, 0, :, 0, 0].view(2400, segments, length)
    back = parts_BSL.gather(1, order_BS.argsort(dim=1)[:, :, None].expand(-1, -1, length)).flatten(1)
    assert torch.equal(back, clips[:, 0, :, 0, 0])


@pytest.mark.parametrize(("num_frames", "segments"), [(8, 3), (2, 4), (0, 2), (8, 0)])
def test_segments_must_be_equal(num_frames: int, segments: int) -> None:
    with pytest.raises(InputError, match=f"{num_frames} frames can't be cut into {segments} equal segments"):
        shuffle_segments(torch.zeros(1, 3, num_frames, 2, 2), torch.zeros(1, 4), segments)


def test_rotate_by_hand_and_evenly() -> None:
    corners = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(3000, 3, 2, 2, 2)
    out = rotate_frames(corners, uniforms(3000, 1))
    assert (out == out[:, :1, :1]).all()
    count = Counter(tuple(frame.flatten().int().tolist()) for frame in out[:, 0, 0])
    assert set(count) == {(2, 4, 1, 3), (4, 3, 2, 1), (3, 1, 4, 2)} and is_even(list(count.values()))
    with pytest.raises(InputError, match="square frames, got 2 x 3"):
        rotate_frames(torch.zeros(1, 3, 2, 2, 3), torch.zeros(1, 1))


@pytest.mark.parametrize("name", INTRA_NEGATIVES)
def test_contract(name: str) -> None:
    """Own row only, input untouched, values of the clip and no others, a static clip stays static, dtype kept."""
    function, count = INTRA_NEGATIVES[name]
    clips, u = torch.rand(6, 3, 8, 4, 4, generator=torch.Generator().manual_seed(1)), uniforms(6, count(8))
    before = clips.clone()
    out = function(clips, u)
    assert out.shape == clips.shape and torch.equal(clips, before)
    assert torch.equal(torch.cat([function(clips[b : b + 1], u[b : b + 1]) for b in range(6)]), out)
    assert all(set(out[b].flatten().tolist()) <= set(clips[b].flatten().tolist()) for b in range(6))
    assert not any(torch.equal(out[b], clips[b]) for b in range(6))
    static = clips[:, :, :1].expand(-1, -1, 8, -1, -1)
    assert (function(static, u) == function(static, u)[:, :, :1]).all()
    assert torch.equal(function(clips.double(), u), out.double())
    assert torch.isfinite(function(clips, torch.full_like(u, 1 - 2**-24))).all()


def test_rotate_90_is_always_the_same_quarter() -> None:
    clips = torch.rand(5, 3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rotate_by_quarter(clips, uniforms(5, 1)), clips.rot90(1, dims=(3, 4)))


def test_an_intra_negative_of_residual_frames_whatever_view_1_is() -> None:
    """IICv2's release: with RGB views too, the copy is made of the residual frames of clip 1."""
    options = TwoViewOptions(
        intra_negatives="repeat", intra_view="residual", residual=ResidualSpec("forward", "wrap", False)
    )
    recipe = options.recipe(options.view_spec(16), seed=0)
    frames = torch.randint(0, 256, (2, 2, 4, *recipe.spec.resize_hw, 3), dtype=torch.uint8)
    index = torch.arange(2)
    tensors = recipe(Clips(frames, index, index, torch.zeros(2), epoch=0)).tensors
    residual = tensors["view1"] - tensors["view1"].roll(1, dims=2)
    found = [any(torch.equal(tensors["intra"][b, :, 0], residual[b, :, t]) for t in range(4)) for b in range(2)]
    assert found == [True, True]
    with pytest.raises(InputError, match="intra_view residual needs the frame before each clip"):
        TwoViewOptions(intra_negatives="repeat", intra_view="residual")
