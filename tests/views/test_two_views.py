"""Pairs of views: what stands in which view."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from unreel.errors import InputError
from unreel.seeding import draw_uniforms
from unreel.types import Clips
from unreel.video.sampling.pair_sampling import IntervalDistribution
from unreel.views.inference_views import make_inference_views
from unreel.views.intra_negatives import INTRA_NEGATIVES
from unreel.views.residual_frames import ResidualSpec
from unreel.views.two_views import TwoViewOptions, TwoViewRecipe
from unreel.views.view_spec import ViewSpec

B, T, SIZE, SEED = 3, 8, 32, 5


RAW = ResidualSpec("forward", "lead-in", False)


def clips(options: TwoViewOptions, same: bool = False, batch: int = B, size: int = SIZE, frames: int = T) -> Clips:
    """Noise; `same`: every clip of an instance alike."""
    spec = options.view_spec(size)
    shape = (batch, 1 if same else recipe(options).num_clips, frames + spec.lead_in, *spec.resize_hw, 3)
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
    index = torch.arange(batch) * 5 % 97 + 1
    return Clips(noise.expand(-1, recipe(options).num_clips, -1, -1, -1, -1), index, index, torch.zeros(batch), epoch=3)


def recipe(options: TwoViewOptions, segments: int = 0, size: int = SIZE) -> TwoViewRecipe:
    return options.recipe(options.view_spec(size), SEED, segments)


def views(options: TwoViewOptions, batch: Clips, segments: int = 0, size: int = SIZE) -> dict[str, Tensor]:
    return recipe(options, segments, size)(batch).tensors


def test_the_broken_clip_is_made_of_the_augmented_first_view() -> None:
    for name in INTRA_NEGATIVES:
        options = TwoViewOptions(augment="color", intra_negatives=name)  # type: ignore[arg-type]
        made = views(options, clips(options))
        function, count = INTRA_NEGATIVES[name]
        u = draw_uniforms(SEED, 3, clips(options).index_B, "intra", count(T))
        assert torch.equal(made["intra"], function(made["view1"], u)) and not torch.equal(made["intra"], made["view1"])
    assert set(views(TwoViewOptions(), clips(TwoViewOptions()))) == {"view1", "view2"}


def test_one_clip_has_one_draw_and_the_same_moment_has_two() -> None:
    one = TwoViewOptions("one-clip", second_view="residual", residual=RAW)
    moment, two = (dataclasses.replace(one, pairs=p) for p in ("same-moment", "independent"))
    assert [recipe(o).num_clips for o in (one, moment, two)] == [1, 1, 2]
    made = views(one, clips(one))
    steps = made["view1"][:, :, 1:] - made["view1"][:, :, :-1]
    assert torch.allclose(made["view2"][:, :, 1:], steps, atol=1e-6)
    twice = views(moment, clips(moment))
    assert torch.equal(twice["view1"], made["view1"])
    assert not torch.allclose(twice["view2"][:, :, 1:], steps, atol=1e-3)
    copied = views(two, clips(two, same=True))
    assert all(torch.equal(copied[n], twice[n]) for n in copied)


def test_the_second_view_is_of_the_second_clip() -> None:
    options = TwoViewOptions("uniform")
    batch = clips(options)
    swapped = dataclasses.replace(batch, frames=batch.frames.flip(1))
    flat = [torch.full_like(batch.frames[:, :1], v) for v in (51, 204)]
    made = views(options, dataclasses.replace(batch, frames=torch.cat(flat, dim=1)))
    assert (made["view1"] == 0.2).all() and (made["view2"] == 0.8).all()
    assert not torch.equal(views(options, swapped)["view1"], views(options, batch)["view1"])


def test_running_backwards_turns_everything_round() -> None:
    """Clips, again and residual frames, lead-in included; and the frames that came in stay as they were."""
    options = TwoViewOptions("decreasing", second_view="residual", residual=RAW, time_reversal=1.0)
    batch = clips(options)
    before = batch.frames.clone()
    turned = dataclasses.replace(batch, frames=batch.frames.flip(2))
    forward = views(dataclasses.replace(options, time_reversal=0.0), turned, segments=2)
    backward = views(options, batch, segments=2)
    assert all(torch.equal(forward[n], backward[n]) for n in forward) and torch.equal(batch.frames, before)
    still = views(dataclasses.replace(options, time_reversal=0.0), batch)
    assert torch.equal(backward["view2"], -still["view2"].flip(2))


def test_half_of_the_instances_run_backwards_both_clips_together() -> None:
    options = TwoViewOptions(time_reversal=0.5)
    batch = clips(options, batch=400, size=16, frames=2)
    batch.frames = (torch.arange(2, dtype=torch.uint8) * 255).view(1, 1, 2, 1, 1, 1).expand_as(batch.frames)
    made = views(options, batch, size=16)
    first, second = (made[n][:, 0, 0, 0, 0] for n in ("view1", "view2"))
    assert torch.equal(first, second) and abs(float(first.mean()) - 0.5) < 0.1


@pytest.mark.parametrize("segments", [2, 4])
def test_the_clip_again_and_shuffled(segments: int) -> None:
    options = TwoViewOptions(augment="color", first_view="residual", time_reversal=0.5)
    batch = clips(options, batch=8)
    out = recipe(options, segments)(batch)
    order_BS = out.segment_order_BS
    assert order_BS is not None and order_BS.shape == (8, segments) and order_BS.dtype == torch.int64
    again, shuffled = (out.tensors[n].chunk(segments, dim=2) for n in ("again", "shuffled"))
    for b in range(8):
        for s in range(segments):
            assert torch.equal(shuffled[s][b], again[int(order_BS[b, s])][b])
    assert len({tuple(order) for order in order_BS.tolist()}) > 1
    flat = dataclasses.replace(batch, frames=batch.frames.clone())
    flat.frames[:, 1] = 0
    assert torch.equal(views(options, flat, segments)["again"], out.tensors["again"])  # of clip 1 alone
    assert not torch.equal(out.tensors["again"], out.tensors["view1"])
    assert recipe(options)(batch).segment_order_BS is None
    with pytest.raises(InputError, match="8 frames can't be cut into 3 equal segments"):
        views(options, batch, segments=3)


@pytest.mark.parametrize("consistent", [True, False])
def test_views_depend_on_seed_epoch_and_index_alone(consistent: bool) -> None:
    options = TwoViewOptions(augment="cvrl", flip=True, asymmetric=True, time_reversal=0.5, intra_negatives="shuffle")
    options = dataclasses.replace(options, consistent=consistent)
    batch = clips(options)
    whole = views(options, batch, segments=2)
    part = Clips(batch.frames[1:2], batch.index_B[1:2], batch.video_B[1:2], batch.start_s_B[1:2], epoch=3)
    for name, view in views(options, part, segments=2).items():
        assert torch.allclose(view[0], whole[name][1], atol=1e-6), name
    later = views(options, dataclasses.replace(batch, epoch=4), segments=2)
    other = options.recipe(options.view_spec(SIZE), SEED + 1, 2)(batch).tensors
    assert not any(torch.equal(later[n], whole[n]) or torch.equal(other[n], whole[n]) for n in ("view1", "view2"))


def test_what_the_options_say_to_the_others() -> None:
    options = TwoViewOptions("mirror", 0.5, "flow-u", "residual", RAW, standardize=True)
    assert options.view_spec(48) == ViewSpec(("flow-u", "residual"), 48, RAW, True)
    assert options.interval() == recipe(options).interval == IntervalDistribution("mirror", 0.5)
    for pairs in ("one-clip", "same-moment", "independent"):
        assert TwoViewOptions(pairs, second_view="residual").interval().kind == "independent"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": "mirrored"}, "unknown pairs 'mirrored'. Did you mean 'mirror'"),
        ({"augment": "colour"}, "unknown augment 'colour'. Did you mean 'color'"),
        ({"second_view": "flow"}, "unknown second_view 'flow'"),
        ({"intra_negatives": "reverse"}, "unknown intra_negatives 'reverse'"),
        ({"interval_power": 0.0}, "interval_power must be above 0 and finite, got 0.0"),
        ({"time_reversal": 1.5}, "time_reversal must lie between 0 and 1, got 1.5"),
        ({"pairs": "one-clip"}, "same tensor; set --pairs independent"),
        (
            {"pairs": "one-clip", "second_view": "residual", "asymmetric": True},
            "asymmetric views need an augmentation each",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TwoViewOptions(**options)


def test_views_of_decoded_frames_lie_channels_last() -> None:
    """So a network on a CPU gets its layout without a copy (docs/performance.md)."""
    options = TwoViewOptions(second_view="residual", intra_negatives="shuffle-frames")
    recipe = options.recipe(options.view_spec(size=32), seed=0)
    frames = torch.randint(0, 256, (4, recipe.num_clips, 9, *recipe.spec.resize_hw, 3), dtype=torch.uint8)
    rows = torch.arange(4)
    views = recipe(Clips(frames, rows, rows, torch.zeros(4), epoch=0, draw_B=rows)).tensors
    used = make_inference_views(frames[:, 0], recipe.spec)
    assert len(views) == 3 and len(used) == 2
    assert all(view.stride(1) == 1 and view.stride(4) == 3 for view in (*views.values(), *used.values()))
    joint = torch.cat(list(views.values()))
    assert joint.is_contiguous(memory_format=torch.channels_last_3d)
