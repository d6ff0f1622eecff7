"""What holds for every random operation on clips: a clip's result depends on its own row alone."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

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
    "blend_still_frame": partial(photometric.blend_still_frame, p=0.5),
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
