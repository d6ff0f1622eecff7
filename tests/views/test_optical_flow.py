"""Flow of a texture that is moved by whole pixels, its sign, its scale and its ends."""

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from unreel.errors import InputError
from unreel.views.optical_flow import MAX_DISPLACEMENT, compute_clip_flow, compute_flow_view


def moving(right: int, down: int, num_frames: int = 4, size: int = 64) -> torch.Tensor:
    """A clip (1, 3, T, size, size) of a smooth texture that moves by (right, down) pixels a frame."""
    texture = gaussian_filter(np.random.default_rng(0).random((160, 160)), 1.5, mode="wrap")
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    frames = [
        np.roll(texture, (down * t, right * t), (0, 1))[40 : 40 + size, 40 : 40 + size] for t in range(num_frames)
    ]
    return torch.from_numpy(np.stack(frames)).float().expand(1, 3, -1, -1, -1)


def pixels(image: torch.Tensor) -> torch.Tensor:
    """Back to pixels of motion, the middle of each frame: (T,) medians."""
    inner = image[0, 0, :, 12:-12, 12:-12].flatten(1)
    return (inner.median(dim=1).values - 0.5) * 2 * MAX_DISPLACEMENT * image.shape[3]


@pytest.mark.parametrize(("right", "down"), [(2, 0), (-2, 0), (0, 2), (1, -3), (0, 0)])
def test_translation_in_pixels_and_sign(right: int, down: int) -> None:
    clip = moving(right, down)
    assert (pixels(compute_flow_view(clip, "u")) - right).abs().max() < 0.1
    assert (pixels(compute_flow_view(clip, "v")) - down).abs().max() < 0.1


def test_ends() -> None:
    """With lead-in T + 1 frames make T; without it frame 0 repeats frame 1, the rest is the same."""
    clip = moving(2, 1)
    led, whole = compute_flow_view(clip, "u", lead_in=True), compute_flow_view(clip, "u", lead_in=False)
    assert led.shape == (1, 3, 3, 64, 64) and whole.shape == (1, 3, 4, 64, 64)
    assert torch.equal(whole[:, :, 1:], led) and torch.equal(whole[:, :, 0], whole[:, :, 1])
    assert (led == led[:, :1]).all()


def test_static_clip_is_grey_and_motion_is_bounded() -> None:
    assert torch.allclose(compute_flow_view(moving(0, 0), "v"), torch.tensor(0.5), atol=1e-3)
    fast = compute_flow_view(moving(3, 0), "u", max_displacement=1 / 64)
    assert fast.max() == 1 and fast.min() >= 0 and fast[0, 0, :, 12:-12, 12:-12].median() == 1


def test_each_clip_on_its_own() -> None:
    clips = torch.cat([moving(2, 0), moving(0, 2), moving(-1, 1)])
    alone = torch.cat([compute_flow_view(clips[b : b + 1], "u") for b in range(3)])
    assert torch.equal(compute_flow_view(clips, "u"), alone)


def test_opencv_threads_do_not_matter_and_are_left_alone() -> None:
    frames = (torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8).numpy()
    before, results = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            results.append(compute_clip_flow(frames, 0))
            compute_flow_view(moving(1, 0), "u")
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_errors() -> None:
    with pytest.raises(InputError, match="u or v, got 'w'"):
        compute_flow_view(moving(0, 0), "w")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"2 frames of 12 x 12 or more, got \(1, 64, 64\)"):
        compute_flow_view(moving(0, 0, num_frames=1), "u")
    with pytest.raises(InputError, match="12 x 12"):
        compute_flow_view(moving(0, 0)[..., :8], "u")
