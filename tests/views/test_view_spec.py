"""Views of clips, and that training and use see the same."""

import dataclasses
import json
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from unreel.errors import InputError
from unreel.evaluation.protocol_description import describe_encoder_input
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Clips
from unreel.views.augmentation import AUGMENTATIONS
from unreel.views.inference_views import make_inference_views, make_view
from unreel.views.intra_negatives import INTRA_NEGATIVES
from unreel.views.residual_frames import ResidualSpec, compute_residual
from unreel.views.two_views import TwoViewOptions
from unreel.views.view_spec import VIEWS, View, ViewSpec

B, T = 3, 8
SPEC = ViewSpec(("rgb", "residual"), size=32)


def clips(num_clips: int, spec: ViewSpec = SPEC) -> Clips:
    shape = (B, num_clips, T + spec.lead_in, *spec.resize_hw, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    index = torch.tensor([4, 1, 9])
    return Clips(torch.from_numpy(frames), index, index, torch.zeros(B), epoch=3)


@pytest.mark.parametrize("boundary", ["lead-in", "wrap", "zero"])
def test_training_and_use_see_the_same_but_for_chance(boundary: str) -> None:
    spec = dataclasses.replace(SPEC, residual=ResidualSpec("forward", boundary, True))  # type: ignore[arg-type]
    height, width = spec.resize_hw
    batch = clips(1, spec)
    used = make_inference_views(batch.frames[:, 0], spec)
    assert used["rgb"].shape == used["residual"].shape == (B, 3, T, 32, 32)
    top, left = (height - 32) // 2, (width - 32) // 2
    frames = batch.frames[:, 0, spec.lead_in :, top : top + 32, left : left + 32]
    assert torch.allclose(used["rgb"], frames.permute(0, 4, 1, 2, 3).float() / 255)
    options = TwoViewOptions("one-clip", second_view="residual")
    trained = options.recipe(spec, seed=0)(batch).tensors
    assert trained["view1"].shape == used["rgb"].shape and trained["view2"].shape == used["residual"].shape


def test_standardised_residual_frames_are_those_of_standardised_rgb() -> None:
    """IICv2: the mean cancels and the deviation stays."""
    raw = ResidualSpec("forward", "lead-in", False)
    clips = torch.rand(2, 3, T + 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spec = ViewSpec(("rgb", "residual"), 16, raw, standardize=True)
    std_31 = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None, None]
    mean_31 = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None, None]
    standard = (clips - mean_31) / std_31
    assert torch.allclose(make_view("rgb", clips, spec), standard[:, :, 1:])
    assert torch.allclose(make_view("residual", clips, spec), compute_residual(standard, raw))
    assert torch.equal(
        make_view("residual", clips, dataclasses.replace(spec, standardize=False)), compute_residual(clips, raw)
    )


def test_standardised_residual_frames_are_not_rescaled() -> None:
    with pytest.raises(InputError, match="set the residual's rescale to off"):
        ViewSpec(("rgb", "residual"), standardize=True)
    assert ViewSpec(("rgb", "flow-u"), standardize=True).lead_in == 1


def test_a_mean_and_deviation_of_its_own() -> None:
    mean, std = (0.4, 0.5, 0.25), (0.5, 0.2, 0.1)
    spec = ViewSpec(("rgb", "residual"), 32, ResidualSpec(boundary="zero", rescale=False), True, mean, std)
    x = torch.rand(2, 3, 4, 32, 32)
    rgb, residual = make_view("rgb", x, spec), make_view("residual", x, spec)
    for c in range(3):
        assert torch.allclose(rgb[:, c], (x[:, c] - mean[c]) / std[c], atol=1e-6)
        assert torch.allclose(residual[:, c, 1:], (x[:, c, 1:] - x[:, c, :-1]) / std[c], atol=1e-5)
    for wrong in ({"std": (0.1, 0.0, 0.1)}, {"mean": (0.1, 0.2)}):
        with pytest.raises(InputError, match="three numbers"):
            ViewSpec(("rgb",), 32, **wrong)


def test_a_mean_of_its_own_is_kept_and_imagenets_is_not_written() -> None:
    """So that files, and hashes of encoders, are those of before."""
    plain = EncoderSpec("tiny", views=ViewSpec(("rgb",), 32, standardize=True))
    own = dataclasses.replace(plain, views=dataclasses.replace(plain.views, mean=(0.45,) * 3, std=(0.225,) * 3))
    written = [json.loads(json.dumps(spec.to_json())) for spec in (plain, own)]
    assert "mean" not in written[0]["views"] and written[1]["views"]["mean"] == [0.45] * 3
    assert [EncoderSpec.from_json(data) for data in written] == [plain, own]
    described = [describe_encoder_input(spec, ("rgb",)) for spec in (plain, own)]
    assert described[0].keys() | {"channel_mean", "channel_std"} == described[1].keys() != described[0].keys()


def test_a_line_of_the_table_is_a_whole_view(monkeypatch: pytest.MonkeyPatch) -> None:
    inverse = View(lambda clips, spec: 1 - clips[:, :, spec.lead_in :], looks_back=False, shows_motion=False)
    monkeypatch.setitem(VIEWS, "inverse", inverse)
    spec = ViewSpec(("rgb", "inverse"), size=32)
    assert spec.lead_in == 0
    batch = clips(1, spec)
    used = make_inference_views(batch.frames[:, 0], spec)
    assert torch.allclose(used["inverse"], 1 - used["rgb"])
    trained = TwoViewOptions("one-clip", second_view="inverse").recipe(spec, seed=0)(batch).tensors
    assert torch.allclose(trained["view2"], 1 - trained["view1"])


def test_the_tables_are_the_choices_of_the_flags() -> None:
    types = get_type_hints(TwoViewOptions)
    for name, table in (("first_view", VIEWS), ("second_view", VIEWS), ("augment", AUGMENTATIONS)):
        known, own = get_args(types[name])  # own: the name of code of one's own
        assert get_args(known) == tuple(table) and own is str
    assert get_args(types["intra_negatives"]) == (*INTRA_NEGATIVES, "none")
