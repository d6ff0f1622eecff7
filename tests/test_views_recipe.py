"""The recipe: what is made of a batch of clips, and that training and use see the same."""

import dataclasses

import numpy as np
import pytest
import torch

from unreel.methods import iic
from unreel.models import build_backbone
from unreel.types import Clips, Instance
from unreel.views.intra import INTRA_NEGATIVES
from unreel.views.recipe import TwoViewRecipe, ViewSpec, inference_views
from unreel.views.residual import Residual

B, T = 3, 8
SPEC = ViewSpec(("rgb", "residual"), size=32)


def clips(num_clips: int, spec: ViewSpec = SPEC, same: bool = False) -> Clips:
    shape = (B, num_clips, T + spec.lead_in, *spec.resize_hw, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    if same:
        frames[:] = frames[:, :1]
    index = torch.tensor([4, 1, 9])
    return Clips(torch.from_numpy(frames), index, index, torch.zeros(B), epoch=3)


def test_the_broken_clip_is_made_of_the_augmented_first_view() -> None:
    for name in INTRA_NEGATIVES:
        if name == "rotate":
            continue
        made = TwoViewRecipe(SPEC, seed=0, intra=name)(clips(1)).tensors
        for b in range(B):
            frames = made["view1"][b].transpose(0, 1)
            for frame in made["intra"][b].transpose(0, 1):
                assert any(torch.equal(frame, original) for original in frames), name
        assert not torch.equal(made["intra"], made["view1"])
    assert "intra" not in TwoViewRecipe(SPEC, seed=0, intra="none")(clips(1)).tensors


def test_one_clip_gives_both_views_the_same_crop_and_two_clips_do_not() -> None:
    plain = dataclasses.replace(SPEC, residual=Residual("forward", "lead-in", False))
    one = TwoViewRecipe(plain, seed=0)(clips(1)).tensors
    steps = one["view1"][:, :, 1:] - one["view1"][:, :, :-1]
    assert torch.allclose(one["view2"][:, :, 1:], steps, atol=1e-6)
    two = TwoViewRecipe(plain, seed=0, two_clips=True)(clips(2, same=True)).tensors
    steps = two["view1"][:, :, 1:] - two["view1"][:, :, :-1]
    assert not torch.allclose(two["view2"][:, :, 1:], steps, atol=1e-3)


@pytest.mark.parametrize("boundary", ["lead-in", "wrap", "zero"])
def test_training_and_use_see_the_same_but_for_chance(boundary: str) -> None:
    spec = dataclasses.replace(SPEC, residual=Residual("forward", boundary, True))  # type: ignore[arg-type]
    height, width = spec.resize_hw
    batch = clips(1, spec)
    used = inference_views(batch.frames[:, 0], spec)
    assert used["rgb"].shape == used["residual"].shape == (B, 3, T, 32, 32)
    top, left = (height - 32) // 2, (width - 32) // 2
    frames = batch.frames[:, 0, spec.lead_in :, top : top + 32, left : left + 32]
    assert torch.allclose(used["rgb"], frames.permute(0, 4, 1, 2, 3).float() / 255)
    trained = TwoViewRecipe(dataclasses.replace(spec), seed=0)(batch).tensors
    assert trained["view1"].shape == used["rgb"].shape and trained["view2"].shape == used["residual"].shape


def test_views_depend_on_seed_epoch_and_index_alone() -> None:
    recipe, batch = TwoViewRecipe(SPEC, seed=0, augment="color", two_clips=True), clips(2)
    whole = recipe(batch).tensors
    part = Clips(batch.frames[1:2], batch.index_B[1:2], batch.video_B[1:2], batch.start_s_B[1:2], epoch=3)
    for name, view in recipe(part).tensors.items():
        assert torch.allclose(view[0], whole[name][1], atol=1e-6), name
    later = recipe(dataclasses.replace(batch, epoch=4)).tensors
    assert not torch.equal(later["view1"], whole["view1"])


@pytest.mark.parametrize(("how", "passes"), [("separate", 3), ("joint", 1)])
def test_batch_statistics_are_updated_once_for_each_pass(how: str, passes: int) -> None:
    config = dataclasses.replace(iic.iic()[0], batch_norm=how)
    method = iic.Method(build_backbone("tiny"), [Instance(str(i), i, 0, 1) for i in range(12)], config, 0)
    recipe = iic.Method.recipe(SPEC, config, 0)
    method(recipe(clips(2)))
    counts = {int(t) for n, t in method.state_dict().items() if n.endswith("num_batches_tracked")}
    assert counts == {passes}


def test_nothing_of_a_method_is_float64_which_mps_has_not() -> None:
    for preset in iic.PRESETS.values():
        method = iic.Method(build_backbone("tiny"), [Instance(str(i), i, 0, 1) for i in range(12)], preset()[0], 0)
        assert [n for n, t in method.named_buffers() if t.dtype == torch.float64] == []


def test_mixed_precision_stays_near_full_precision() -> None:
    config = iic.iic()[0]
    method = iic.Method(build_backbone("tiny"), [Instance(str(i), i, 0, 1) for i in range(12)], config, 0)
    views = iic.Method.recipe(SPEC, config, 0)(clips(2))
    full = method(views).loss.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = method(views).loss.detach()
    assert mixed.dtype == torch.float32 and torch.allclose(full, mixed, rtol=0.05)
