"""Views of clips, that training and use see the same, and what a method makes of them."""

import dataclasses

import numpy as np
import pytest
import torch

from unreel.errors import InputError
from unreel.methods import iic
from unreel.models import build_backbone
from unreel.types import Clips, Instance
from unreel.views.pair import PairOptions
from unreel.views.recipe import ViewSpec, inference_views, make_view
from unreel.views.residual import Residual, residual

B, T = 3, 8
SPEC = ViewSpec(("rgb", "residual"), size=32)


def clips(num_clips: int, spec: ViewSpec = SPEC) -> Clips:
    shape = (B, num_clips, T + spec.lead_in, *spec.resize_hw, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    index = torch.tensor([4, 1, 9])
    return Clips(torch.from_numpy(frames), index, index, torch.zeros(B), epoch=3)


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
    options = PairOptions("one-clip", second_view="residual")
    trained = options.recipe(spec, seed=0)(batch).tensors
    assert trained["view1"].shape == used["rgb"].shape and trained["view2"].shape == used["residual"].shape


def test_standardised_residual_frames_are_those_of_standardised_rgb() -> None:
    """IICv2: the mean cancels and the deviation stays."""
    raw = Residual("forward", "lead-in", False)
    clips = torch.rand(2, 3, T + 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spec = ViewSpec(("rgb", "residual"), 16, raw, standardize=True)
    std_31 = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None, None]
    mean_31 = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None, None]
    standard = (clips - mean_31) / std_31
    assert torch.allclose(make_view("rgb", clips, spec), standard[:, :, 1:])
    assert torch.allclose(make_view("residual", clips, spec), residual(standard, raw))
    assert torch.equal(make_view("residual", clips, dataclasses.replace(spec, standardize=False)), residual(clips, raw))


def test_standardised_residual_frames_are_not_rescaled() -> None:
    with pytest.raises(InputError, match="set the residual's rescale to off"):
        ViewSpec(("rgb", "residual"), standardize=True)
    assert ViewSpec(("rgb", "flow-u"), standardize=True).lead_in == 1


@pytest.mark.parametrize(("how", "passes"), [("separate", 3), ("joint", 1)])
def test_batch_statistics_are_updated_once_for_each_pass(how: str, passes: int) -> None:
    config = dataclasses.replace(iic.iic()[0], batch_norm=how)
    method = iic.Method(build_backbone("tiny"), [Instance(str(i), i, 0, 1) for i in range(12)], config, 0)
    recipe = config.recipe(SPEC, 0)
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
    views = config.recipe(SPEC, 0)(clips(2))
    full = method(views).loss.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = method(views).loss.detach()
    assert mixed.dtype == torch.float32 and torch.allclose(full, mixed, rtol=0.05)
