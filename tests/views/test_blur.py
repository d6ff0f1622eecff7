"""Blur, solarisation and normalisation against slow sums."""

import torch
from torch import Tensor

from unreel.views import photometric


def random_clips(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def slow_blur(plane: Tensor, sigma: float, radius: int) -> Tensor:
    """A 2D Gaussian by its sum over neighbours, borders reflected, in float64."""
    height, width = plane.shape
    reach = range(-radius, radius + 1)
    weight = {(i, j): torch.tensor(-(i * i + j * j) / (2 * sigma**2)).double().exp() for i in reach for j in reach}
    total = sum(weight.values())

    def reflect(k: int, length: int) -> int:
        k = abs(k)
        return k if k < length else 2 * (length - 1) - k

    out = torch.zeros_like(plane)
    for y in range(height):
        for x in range(width):
            for (i, j), w in weight.items():
                out[y, x] += w * plane[reflect(y + i, height), reflect(x + j, width)] / total
    return out


def test_blur_against_a_slow_sum() -> None:
    clips = random_clips(2, 3, 2, 40, 42).double()
    u = torch.tensor([[0.0, 0.25], [0.0, 0.9]], dtype=torch.float64)
    out = photometric.gaussian_blur(clips, u, sigma=(0.1, 2.0), p=1.0)
    for b, c, t in ((0, 0, 0), (1, 2, 1)):
        expected = slow_blur(clips[b, c, t, :9, : 9 + 2], 0.1 + 1.9 * float(u[b, 1]), radius=2)
        assert torch.allclose(out[b, c, t, :7, :9], expected[:7, :9], atol=1e-9)
    assert torch.allclose(photometric.gaussian_blur(torch.ones(2, 3, 1, 40, 42), u, p=1.0), torch.ones(1), atol=1e-6)


def test_blur_reflects_at_the_far_border() -> None:
    clips = random_clips(1, 1, 1, 20, 20).double()
    u = torch.tensor([[0.0, 0.5]], dtype=torch.float64)
    out = photometric.gaussian_blur(clips, u, p=1.0)
    assert torch.allclose(out[0, 0, 0], slow_blur(clips[0, 0, 0], 1.05, radius=1), atol=1e-9)


def test_blur_of_112_pixels_has_11_taps() -> None:
    point = torch.zeros(1, 1, 1, 112, 112)
    point[..., 50, 50] = 1
    out = photometric.gaussian_blur(point, torch.tensor([[0.0, 0.999]]), p=1.0)
    assert (out[0, 0, 0, 50] > 0).sum() == 11 and (out[0, 0, 0, :, 50] > 0).sum() == 11


def test_solarize_and_normalize_by_hand() -> None:
    clips = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).view(1, 1, 1, 1, 5).expand(1, 3, 2, 1, 5)
    assert photometric.solarize(clips, torch.zeros(1, 1), p=1.0)[0, 0, 0, 0].tolist() == [0, 0.25, 0.5, 0.25, 0]
    out = photometric.normalize(clips, (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    assert out[0, :, 1, 0, 3].tolist() == [0.75, 0.5, -1.0]
