"""Each augmentation against its operations one by one."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from unreel.seeding import draw_uniforms, make_generator
from unreel.types import Clips
from unreel.views import geometric, photometric
from unreel.views.augmentation import AUGMENTATIONS
from unreel.views.two_views import TwoViewOptions, TwoViewRecipe

B, T, SIZE, SEED = 3, 8, 32, 5


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


Op = tuple[str, int, Callable[[Tensor, Tensor], Tensor]]


RANDOM_CROP: Op = ("crop", 2, lambda x, u: geometric.random_crop(x, u, SIZE))


RESIZED_CROP: Op = ("crop", 22, lambda x, u: geometric.random_resized_crop(x, u, SIZE, (0.3, 1.0), (0.5, 2.0)))


FLIP: Op = ("flip", 1, lambda x, u: geometric.horizontal_flip(x, u, p=0.5))


GREY: Op = ("grey", 1, lambda x, u: photometric.grayscale(x, u, p=0.2))


SOLARIZE: Op = ("solarize", 1, lambda x, u: photometric.solarize(x, u, p=0.2, threshold=0.5))


STILL: Op = ("still", 3, lambda x, u: photometric.blend_still_frame(x, u, p=0.7, max_weight=0.6))


def jitter(*amounts: float, p: float) -> Op:
    return "jitter", 6, lambda x, u: photometric.color_jitter(x, u, *amounts, p=p)


def blur(p: float) -> Op:
    return "blur", 2, lambda x, u: photometric.gaussian_blur(x, u, (0.1, 2.0), p)


STRONG = jitter(0.8, 0.8, 0.8, 0.2, p=0.8)


CASES: list[tuple[TwoViewOptions, list[Op], list[Op]]] = [
    (TwoViewOptions(), [RANDOM_CROP], [RANDOM_CROP]),
    (TwoViewOptions(augment="color"), *[[RANDOM_CROP, jitter(0.4, 0.4, 0.4, 0.1, p=0.8), GREY, blur(0.5)]] * 2),
    (
        TwoViewOptions(augment="color", flip=True),
        *[[RANDOM_CROP, FLIP, jitter(0.4, 0.4, 0.4, 0.1, p=0.8), GREY, blur(0.5)]] * 2,
    ),
    (TwoViewOptions(augment="cvrl"), *[[RESIZED_CROP, STRONG, GREY]] * 2),
    (
        TwoViewOptions(augment="cvrl", flip=True, asymmetric=True),
        [RESIZED_CROP, FLIP, STRONG, GREY, blur(1.0)],
        [RESIZED_CROP, FLIP, STRONG, GREY, blur(0.1), SOLARIZE],
    ),
    (TwoViewOptions(augment="dual"), *[[RANDOM_CROP, jitter(0.8, 0.8, 0.8, 0.2, p=0.64), blur(0.5)]] * 2),
    (TwoViewOptions(augment="blend"), *[[RESIZED_CROP, jitter(0.4, 0.4, 0.4, 0.1, p=0.8), STILL]] * 2),
]


def by_hand(frames_THWC: Tensor, index: int, stream: str, ops: list[Op], frame: int | None = None) -> Tensor:
    """One clip after its operations, (3, T, SIZE, SIZE); for `frame`, with that frame's share of the uniforms."""
    clip = (frames_THWC.permute(3, 0, 1, 2).float() / 255)[None]
    for name, count, function in ops:
        skip = 0 if frame is None else frame * count
        u = make_generator(SEED, 3, index, f"{stream}/{name}").random(skip + count, dtype=np.float32)[skip:]
        clip = function(clip, torch.from_numpy(u)[None])
    return clip[0]


@pytest.mark.parametrize(("options", "first", "second"), CASES)
def test_every_augmentation_is_its_operations_in_order(
    options: TwoViewOptions, first: list[Op], second: list[Op]
) -> None:
    """Numbers of streams and the first two augmentations are those of results already published: never change them."""
    batch = clips(options, batch=12, frames=2)
    made = views(options, batch)
    for b, index in enumerate(batch.index_B.tolist()):
        plain = (
            options.augment == "dual" and make_generator(SEED, 3, index, "clip0/plain").random(dtype=np.float32) < 0.2
        )
        one = by_hand(batch.frames[b, 0], index, "clip0", first[:1] if plain else first)
        assert torch.allclose(made["view1"][b], one, atol=1e-5)
        assert torch.allclose(made["view2"][b], by_hand(batch.frames[b, 1], index, "clip1", second), atol=1e-5)


@pytest.mark.parametrize(("options", "first", "second"), CASES[3:5])
def test_frames_that_draw_for_themselves(options: TwoViewOptions, first: list[Op], second: list[Op]) -> None:
    options = dataclasses.replace(options, consistent=False)
    batch = clips(options)
    made = views(options, batch)
    for b, index in enumerate(batch.index_B.tolist()):
        for t in range(T):
            frame = batch.frames[b, :, t : t + 1]
            assert torch.allclose(
                made["view1"][b, :, t : t + 1], by_hand(frame[0], index, "clip0", first, t), atol=1e-5
            )
            assert torch.allclose(
                made["view2"][b, :, t : t + 1], by_hand(frame[1], index, "clip1", second, t), atol=1e-5
            )


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if not AUGMENTATIONS[name].moving])
def test_a_static_clip_stays_static_unless_every_frame_draws(name: str) -> None:
    options = TwoViewOptions(augment=name, flip=True, asymmetric=True)  # type: ignore[arg-type]
    batch = clips(options)
    batch.frames = batch.frames[:, :, :1].expand(-1, -1, T, -1, -1, -1)
    for view in views(options, batch, segments=2).values():
        assert torch.allclose(view, view[:, :, :1].expand_as(view), atol=1e-6)
    for view in views(dataclasses.replace(options, consistent=False), batch).values():
        assert (view[:, :, 1:] != view[:, :, :-1]).flatten(3).any(dim=3).any(dim=1).all()


def test_a_fifth_of_the_first_views_alone_is_plain() -> None:
    """A clip equals its crop when it is plain, or when neither jitter nor blur acts (0.36 x 0.5 = 0.18)."""
    options = TwoViewOptions(augment="dual")
    batch = clips(options, same=True, batch=400, size=16, frames=1)
    made, cropped = views(options, batch, 1, size=16), views(TwoViewOptions(), batch, 1, size=16)
    same = {n: (made[n] == cropped[n]).flatten(1).all(dim=1) for n in made}
    assert abs(float(same["view1"].float().mean()) - (0.2 + 0.8 * 0.18)) < 0.08
    assert abs(float(same["view2"].float().mean()) - 0.18) < 0.07
    assert abs(float(same["again"].float().mean()) - 0.18) < 0.07
    plain = draw_uniforms(SEED, 3, batch.index_B, "clip0/plain", 1)[:, 0] < 0.2
    assert same["view1"][plain].all() and 40 < int(plain.sum()) < 120
