"""The random operations of CVRL's release, with the arithmetic of TensorFlow: a crop's law, colours, blur.

As in geometric.py and photometric.py, an operation is a pure function of float clips (B, C, T, H, W) in [0, 1] and
uniforms u (B, n) in [0, 1), one row per clip, and all frames of a clip share its draw.

Source: Qian et al. 2021 (CVRL); tensorflow/models, official/projects/video_ssl/ops/video_ssl_preprocess_ops.py and
official/vision/ops/preprocess_ops_3d.py; TensorFlow's sample_distorted_bounding_box, adjust_contrast,
adjust_saturation and adjust_hue.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.views import photometric
from unreel.views.geometric import resize_boxes
from unreel.views.photometric import build_gaussian_kernels, convolve_planes
from unreel.views.random_apply import apply_where, constant_like, to_device_of, uniform_to_index, uniform_to_range

CROP_ATTEMPTS, CROP_AREA, CROP_ASPECT = 100, (0.3, 1.0), (0.5, 2.0)
NUM_UNIFORMS = {"random_resized_crop": 2 * CROP_ATTEMPTS + 2, "color_jitter": 6, "grayscale": 1, "gaussian_blur": 2}
GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)
ColorOperation = Callable[[Tensor, Tensor], Tensor]
ROUNDING = 1e-7  # of the sampler, so that a width rounds to the frame's and not above


def random_resized_crop(clips: Tensor, u: Tensor, size: int) -> Tensor:
    """A random box of the frame, resized to (B, C, T, size, size) by bilinear interpolation, not antialiased.

    >>> random_resized_crop(torch.zeros(2, 3, 8, 36, 48), torch.rand(2, 202), size=32).shape
    torch.Size([2, 3, 8, 32, 32])
    """
    box_B4 = sample_crop_boxes(u, clips.shape[3], clips.shape[4]).to(clips.dtype)
    return resize_boxes(clips.flatten(1, 2), box_B4, size).view(*clips.shape[:3], size, size)


def sample_crop_boxes(
    u: Tensor,
    height: int,
    width: int,
    area: tuple[float, float] = CROP_AREA,
    aspect: tuple[float, float] = CROP_ASPECT,
) -> Tensor:
    """Top, left, height, width, int64 (B, 4), of the first of 100 attempts that fits; the whole frame if none does.

    The aspect (w / h) is uniform, then the *height*, between those of the least and the greatest allowed area, the
    greatest cut off where the box would leave the frame: large areas are rarer than if the area were uniform. The last
    row and column at which a box could begin are never taken, as in TensorFlow. Columns of `u`: aspects, heights, top,
    left.
    """
    aspect_BA = uniform_to_range(u[:, :CROP_ATTEMPTS], *aspect)
    h_BA = choose_heights(u[:, CROP_ATTEMPTS : 2 * CROP_ATTEMPTS], aspect_BA, height, width, area)
    h_BA, w_BA, fits_BA = correct_rounding(h_BA, aspect_BA, height, width, area)
    first_B1, any_fits_B = fits_BA.int().argmax(dim=1, keepdim=True), fits_BA.any(dim=1)
    h_B = torch.where(any_fits_B, h_BA.gather(1, first_B1)[:, 0], height)
    w_B = torch.where(any_fits_B, w_BA.gather(1, first_B1)[:, 0], width)
    top_B = uniform_to_index(u[:, -2], (height - h_B).clamp(min=1))
    left_B = uniform_to_index(u[:, -1], (width - w_B).clamp(min=1))
    return torch.stack([top_B, left_B, h_B, w_B], dim=1)


def choose_heights(u_BA: Tensor, aspect_BA: Tensor, height: int, width: int, area: tuple[float, float]) -> Tensor:
    """Heights of boxes in pixels, int64 (B, A), uniform between the least and the greatest for their aspects (B, A)."""
    least_BA, greatest_BA = ((share * height * width / aspect_BA).sqrt().round().long() for share in area)
    widest_BA = ((width + 0.5 - ROUNDING) / aspect_BA.double()).long()
    widest_BA = widest_BA - ((widest_BA * aspect_BA).round() > width).long()
    is_too_wide_BA = (greatest_BA * aspect_BA).round() > width
    greatest_BA = torch.where(is_too_wide_BA, widest_BA, greatest_BA).clamp(max=height)
    least_BA = torch.minimum(least_BA, greatest_BA)
    return least_BA + uniform_to_index(u_BA, greatest_BA - least_BA + 1)


def correct_rounding(
    h_BA: Tensor, aspect_BA: Tensor, height: int, width: int, area: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Heights and widths (B, A), a row more or less where rounding left the allowed areas, and whether they fit."""
    least, greatest = area[0] * height * width, area[1] * height * width
    h_BA = h_BA + (h_BA * (h_BA * aspect_BA).round() < least).long()
    h_BA = h_BA - (h_BA * (h_BA * aspect_BA).round() > greatest).long()
    w_BA = (h_BA * aspect_BA).round().long()
    is_allowed_BA = (h_BA * w_BA >= least) & (h_BA * w_BA <= greatest)
    return h_BA, w_BA, is_allowed_BA & (h_BA > 0) & (w_BA > 0) & (h_BA <= height) & (w_BA <= width)


def color_jitter(
    clips: Tensor, u: Tensor, brightness: float, contrast: float, saturation: float, hue: float, p: float = 1.0
) -> Tensor:
    """With probability p change brightness, contrast, saturation and hue in random order, clipped to [0, 1] after each.

    Columns of u (B, 6) and ranges of the amounts are those of `photometric.color_jitter`; the operations are not.

    >>> clips = torch.full((2, 3, 4, 8, 8), 0.5)
    >>> torch.equal(color_jitter(clips, torch.rand(2, 6), 0, 0, 0, 0, p=0), clips)
    True
    """
    return photometric.color_jitter(clips, u, brightness, contrast, saturation, hue, p, apply_color_operations)


def apply_color_operations(clips: Tensor, order_BK: Tensor, amounts: list[Tensor]) -> Tensor:
    """K colour operations per clip (0 brightness, 1 contrast, 2 saturation, 3 hue), clipped to [0, 1] after each.

    Clips (B, 3, T, H, W) keep their shape; `order_BK` is int64 (B, K), `amounts` has four tensors (B,).
    """
    for k in range(order_BK.shape[1]):
        for kind, operation in enumerate((scale_brightness, scale_contrast, scale_saturation, turn_hue)):

            def apply(chosen: Tensor, rows: Tensor, kind: int = kind, operation: ColorOperation = operation) -> Tensor:
                amount = to_device_of(amounts[kind][rows.to(amounts[kind].device)], chosen)
                return operation(chosen, amount.view(-1, 1, 1, 1, 1)).clamp_(0, 1)

            clips = apply_where(clips, order_BK[:, k] == kind, apply)
    return clips


def scale_brightness(clips: Tensor, factor: Tensor) -> Tensor:
    """x * factor; the factor of each clip is (B, 1, 1, 1, 1), here and below."""
    return clips * factor


def scale_contrast(clips: Tensor, factor: Tensor) -> Tensor:
    """(x - mean) * factor + mean, with the mean of each channel over the whole clip."""
    mean = clips.mean(dim=(2, 3, 4), keepdim=True)
    return (clips - mean) * factor + mean


def scale_saturation(clips: Tensor, factor: Tensor) -> Tensor:
    """S of HSV times the factor, at most 1; H and V stay.

    At the same H and V the distance of a channel to V is proportional to S = (V - least) / V, so it is multiplied by
    min(factor, 1 / S); grey stays grey.
    """
    value, chroma = measure_value_and_chroma(clips)
    return value - (value - clips) * torch.minimum(factor, value / chroma.clamp(min=torch.finfo(clips.dtype).tiny))


def turn_hue(clips: Tensor, turn: Tensor) -> Tensor:
    """H of HSV plus the turn, in turns of the circle; S and V stay.

    With h in sixths of the circle, each channel is V - chroma * max(0, min(k, 4 - k, 1)), k = (n + h) mod 6, where n is
    5, 3 and 1 for red, green and blue.
    """
    value, chroma = measure_value_and_chroma(clips)
    red, green, blue = clips.split(1, dim=1)
    safe = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.where(
        red == value,
        (green - blue) / safe,
        torch.where(green == value, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    k = (constant_like((5.0, 3.0, 1.0), clips).view(1, 3, 1, 1, 1) + sixths + 6 * turn) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def measure_value_and_chroma(clips: Tensor) -> tuple[Tensor, Tensor]:
    """V of HSV, the greatest channel, and its distance to the least; (B, 1, T, H, W) each."""
    value = clips.amax(dim=1, keepdim=True)
    return value, value - clips.amin(dim=1, keepdim=True)


def grayscale(clips: Tensor, u_B1: Tensor, p: float = 0.2) -> Tensor:
    """With probability p, three equal channels of luma, whose weights have four digits; clips (B, 3, T, H, W)."""
    grey = constant_like(GREY_WEIGHTS, clips).view(3, 1, 1, 1)
    return apply_where(clips, u_B1[:, 0] < p, lambda chosen, _: (chosen * grey).sum(1, keepdim=True).expand_as(chosen))


def gaussian_blur(clips: Tensor, u_B2: Tensor, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5) -> Tensor:
    """With probability p, a Gaussian blur: sigma uniform in pixels, kernel a tenth of the frame, zeros beyond borders.

    Columns of u (B, 2): whether to apply, sigma. 23 taps at 224 pixels.
    """
    radius = clips.shape[3] // 10 // 2

    def blur(chosen: Tensor, rows: Tensor) -> Tensor:
        sigma_N = uniform_to_range(u_B2[rows, 1].to(chosen.dtype), *sigma)
        kernel_NK = to_device_of(build_gaussian_kernels(sigma_N, radius), chosen)
        return convolve_planes(F.pad(chosen.flatten(1, 2), (radius,) * 4), kernel_NK).view(chosen.shape)

    return apply_where(clips, u_B2[:, 0] < p, blur)
