"""Residual frames against the ramp of docs/methods.md, by hand."""

import pytest
import torch

from unreel.errors import InputError
from unreel.views.intra_negatives import repeat_frame
from unreel.views.residual_frames import ResidualSpec, compute_residual

RAMP = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(1, 1, 4, 1, 1).expand(2, 3, 4, 2, 2)


def values(spec: ResidualSpec, clips: torch.Tensor = RAMP) -> list[float]:
    out = compute_residual(clips, spec)
    assert (out == out[:1, :1, :, :1, :1]).all()
    return out[0, 0, :, 0, 0].tolist()


def test_ramp() -> None:
    assert values(ResidualSpec("forward", "wrap", rescale=False)) == [-3, 1, 1, 1]
    assert values(ResidualSpec("backward", "wrap", rescale=False)) == [3, -1, -1, -1]
    assert values(ResidualSpec("forward", "zero", rescale=False)) == [0, 1, 1, 1]
    assert values(ResidualSpec("forward", "lead-in", rescale=False)) == [1, 1, 1]
    assert values(ResidualSpec("forward", "wrap", rescale=True)) == [-1, 1, 1, 1]
    assert values(ResidualSpec("backward", "zero", rescale=True)) == [0.5, 0, 0, 0]


def test_default_is_forward_with_lead_in_rescaled() -> None:
    assert ResidualSpec() == ResidualSpec("forward", "lead-in", True)
    assert values(ResidualSpec()) == [1, 1, 1]


def test_lead_in_equals_the_inside_of_a_longer_clip() -> None:
    """T + 1 frames in, T out, each the true difference: no artefact at frame 0."""
    clips = torch.rand(2, 3, 9, 4, 4, generator=torch.Generator().manual_seed(0))
    spec = ResidualSpec("forward", "lead-in", rescale=False)
    for t in range(8):
        assert torch.equal(compute_residual(clips, spec)[:, :, t], clips[:, :, t + 1] - clips[:, :, t])
    wrapped = compute_residual(clips, ResidualSpec("forward", "wrap", rescale=False))
    assert torch.equal(wrapped[:, :, 0], clips[:, :, 0] - clips[:, :, -1])
    assert torch.equal(wrapped[:, :, 1:], compute_residual(clips, spec))


def test_rescaled_residual_of_clips_stays_in_range() -> None:
    clips = (torch.rand(2, 3, 9, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    out = compute_residual(clips, ResidualSpec())
    assert out.min() == 0 and out.max() == 1


@pytest.mark.parametrize("boundary", ["lead-in", "wrap", "zero"])
def test_repeated_frame_has_no_residual(boundary) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    still = repeat_frame(torch.rand(3, 3, 8, 4, 4, generator=generator), torch.rand(3, 1, generator=generator))
    assert (compute_residual(still, ResidualSpec(boundary=boundary, rescale=False)) == 0).all()
    assert (compute_residual(still, ResidualSpec(boundary=boundary)) == 0.5).all()


def test_errors() -> None:
    with pytest.raises(InputError, match="boundary must be one of lead-in, wrap, zero, got 'none'"):
        ResidualSpec(boundary="none")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 2 frames"):
        compute_residual(torch.zeros(1, 3, 1, 2, 2), ResidualSpec())
