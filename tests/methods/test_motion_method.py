"""The loss of motion against its slow twin, and what its views leave to learn from."""

import pytest
import torch
from instances import explicit_nt_xent, rows

from unreel.methods import motion
from unreel.types import Clips, Instance

B = 5


def build(config: motion.Config) -> motion.Method:
    instances = [Instance("a.mp4" if n < 2 else f"{n}.mp4", max(n, 1), 10.0 * n, 10.0 * n + 10) for n in range(B)]
    return motion.Method(torch.nn.Identity(), instances, config, seed=0)


def test_the_loss_is_nt_xent() -> None:
    method, z = build(motion.Config(temperature=0.2)), {"view1": rows(0, B), "view2": rows(1, B)}
    output = method.compute_loss(z, method.negative_mask.build_batch_mask(torch.arange(B)))
    assert output.loss.item() == pytest.approx(explicit_nt_xent(z["view1"], z["view2"], 0.2), rel=1e-9)


def test_neighbours_of_a_recording_are_no_negatives() -> None:
    near, all_ = build(motion.Config(exclude_neighbours_s=15)), build(motion.Config())
    masks = [method.negative_mask.build_batch_mask(torch.arange(B)) for method in (near, all_)]
    assert (masks[1].int() - masks[0].int()).nonzero().tolist() == [[0, 1], [1, 0]]
    z = {"view1": rows(0, B), "view2": rows(1, B)}
    losses = [method.compute_loss(z, mask).loss for method, mask in zip((near, all_), masks, strict=True)]
    assert losses[0] < losses[1]


def test_a_still_video_shows_nothing_in_either_view() -> None:
    """Residual frames of a clip that stands still are the same grey, whatever the augmentation draws."""
    config, settings = motion.motion()
    recipe = config.recipe(config.view_spec(32), seed=0)
    still = torch.randint(0, 256, (B, 2, 1, *recipe.spec.resize_hw, 3), dtype=torch.uint8)
    numbers = torch.arange(B)
    views = recipe(Clips(still.expand(-1, -1, 9, -1, -1, -1), numbers, numbers, torch.zeros(B), epoch=0))
    assert set(views.tensors) == {"view1", "view2"} and settings.batch_size == 16
    for view in views.tensors.values():
        torch.testing.assert_close(view, torch.full_like(view, 0.5), atol=1e-6, rtol=0)
