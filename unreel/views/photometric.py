"""Changes of colour and sharpness; parameters are drawn once per clip, so a static clip stays static.

Every random operation is a pure function `op(clips, u, ...)` of float clips (B, C, T, H, W) in [0, 1] and uniforms
u (B, n) in [0, 1), one row per clip; NUM_UNIFORMS gives n. The result for a clip depends on its own row alone.

Source: Tao et al. 2020 (IIC), Qian et al. 2021 (CVRL); colour semantics are those of torchvision's ColorJitter.
"""

import math
from itertools import permutations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.views.random_apply import (
    apply_by_clip,
    apply_where,
    constant_like,
    is_on_cpu,
    to_device_of,
    uniform_to_index,
    uniform_to_range,
)

NUM_UNIFORMS = {"color_jitter": 6, "grayscale": 1, "gaussian_blur": 2, "solarize": 1, "blend_still_frame": 3}
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
RGB_TO_YIQ = (LUMA_WEIGHTS, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
JITTER_ORDERS = tuple(permutations(range(4)))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def color_jitter(
    clips: Tensor,
    u: Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    p: float = 1.0,
    in_place: bool = False,
) -> Tensor:
    """With probability p change brightness, contrast, saturation and hue in random order, clipped to [0, 1] after each.

    Factors are uniform over [max(0, 1 - x), 1 + x], the hue turn over [-hue, hue] of the circle. Contrast blends with
    the mean grey of the whole clip, since a mean per frame would flicker. Hue is a rotation in YIQ, which keeps the
    luma; torchvision and TensorFlow rotate HSV. Columns of u (B, 6): whether to apply, four amounts, the order.

    >>> clips = torch.full((2, 3, 4, 8, 8), 0.5)
    >>> torch.equal(color_jitter(clips, torch.rand(2, 6), 0, 0, 0, 0, p=0), clips)
    True
    """
    ranges = [(max(0.0, 1 - x), 1 + x) for x in (brightness, contrast, saturation)] + [(-hue, hue)]
    amounts = [uniform_to_range(u[:, k + 1].to(clips.dtype), *ranges[k]) for k in range(4)]
    order_B4 = torch.tensor(JITTER_ORDERS)[uniform_to_index(u[:, 5], len(JITTER_ORDERS)).cpu()].to(u.device)
    changes = build_color_changes(order_B4, amounts)

    def jitter(chosen: Tensor, rows: Tensor) -> Tensor:
        return apply_color_changes(chosen, ColorChanges(*(part[rows] for part in changes)))

    return apply_by_clip(clips, u[:, 0] < p, jitter, in_place)


class ColorChanges(NamedTuple):
    """K changes of colour of each clip, one after the other: x -> matrix @ x + of_mean @ (mean of x), in [0, 1].

    `needed` is False for those that do nothing, since a later one does their work.
    """

    matrix_BK33: Tensor
    of_mean_BK33: Tensor
    needed_BK: Tensor


def build_color_changes(order_BK: Tensor, amounts: list[Tensor]) -> ColorChanges:
    """The changes for K operations (0 brightness, 1 contrast, 2 saturation, 3 hue), int64 (B, K), of four amounts (B,).

    An operation that can't leave [0, 1], since it blends with what lies inside, needs no clipping, so it is one product
    with the next.
    """
    amount_B4 = torch.stack(amounts, dim=1).double()
    eye, luma_3 = torch.eye(3).to(amount_B4), constant_like(LUMA_WEIGHTS, amount_B4)
    b, c, s = (amount_B4[:, k, None, None] for k in range(3))
    matrix_B433 = torch.stack([b * eye, c * eye, s * eye + (1 - s) * luma_3, build_hue_matrix(amount_B4[:, 3])], dim=1)
    stays_B4 = torch.stack([*(amount_B4[:, :3] <= 1).unbind(1), amount_B4[:, 3] == 0], dim=1)
    matrix_B33, of_mean_B33 = eye.expand(len(order_BK), 3, 3), torch.zeros_like(eye).expand(len(order_BK), 3, 3)
    rows_B, steps = torch.arange(len(order_BK), device=order_BK.device), []
    for k, op_B in enumerate(order_BK.unbind(1)):
        grey_B33 = torch.where(op_B[:, None, None] == 1, 1 - c, 0) * (luma_3 @ matrix_B33)[:, None].expand(-1, 3, -1)
        change_B33 = matrix_B433[rows_B, op_B]
        matrix_B33, of_mean_B33 = change_B33 @ matrix_B33, change_B33 @ of_mean_B33 + grey_B33
        needed_B = ~stays_B4[rows_B, op_B] | (k == order_BK.shape[1] - 1)
        keep_B11 = needed_B[:, None, None]
        steps.append((torch.where(keep_B11, matrix_B33, eye), torch.where(keep_B11, of_mean_B33, 0), needed_B))
        matrix_B33, of_mean_B33 = torch.where(keep_B11, eye, matrix_B33), torch.where(keep_B11, 0, of_mean_B33)
    matrices, of_means, needed = (torch.stack(part, dim=1) for part in zip(*steps, strict=True))
    return ColorChanges(matrices.to(amounts[0]), of_means.to(amounts[0]), needed)


def apply_color_operations(clips: Tensor, order_BK: Tensor, amounts: list[Tensor]) -> Tensor:
    """K colour operations per clip (0 brightness, 1 contrast, 2 saturation, 3 hue), clipped to [0, 1] after each.

    Clips (B, 3, T, H, W) keep their shape; `order_BK` is int64 (B, K), `amounts` has four tensors (B,).
    """
    return apply_color_changes(clips, build_color_changes(order_BK, amounts))


def apply_color_changes(clips: Tensor, changes: ColorChanges) -> Tensor:
    """Clips (B, 3, T, H, W) after their changes: different ones of different clips are one batched product.

    Two buffers serve in turn, since on a CPU fresh memory costs more than the product. A change that no clip needs is
    left out where that is known without waiting for a GPU.
    """
    matrix_BK33, of_mean_BK33 = (to_device_of(part, clips) for part in changes[:2])
    flat = clips.flatten(2)
    buffers = [torch.empty_like(flat) for _ in range(2)]
    for k in range(matrix_BK33.shape[1]):
        if not is_on_cpu(clips) or changes.needed_BK[:, k].any():
            offset_B31 = of_mean_BK33[:, k] @ flat.mean(dim=2, keepdim=True)
            torch.baddbmm(offset_B31, matrix_BK33[:, k], flat, out=buffers[0])
            flat, buffers = buffers[0].clamp_(0, 1), buffers[::-1]
    return flat.view(clips.shape)


def build_hue_matrix(turn_B: Tensor) -> Tensor:
    """(B, 3, 3) on RGB columns: rotation of the chroma by 2 pi * turn about the luma axis."""
    to_yiq = torch.tensor(RGB_TO_YIQ, dtype=torch.float64)
    cos, sin = (2 * math.pi * turn_B).cos(), (2 * math.pi * turn_B).sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turn_B33 = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return to_yiq.inverse().to(turn_B) @ turn_B33 @ to_yiq.to(turn_B)


def grayscale(clips: Tensor, u_B1: Tensor, p: float = 0.2, in_place: bool = False) -> Tensor:
    """With probability p, three equal channels of luma; clips (B, 3, T, H, W), uniforms (B, 1)."""
    grey_3 = constant_like(LUMA_WEIGHTS, clips)[:, None, None, None]

    def remove_color(chosen: Tensor, _: Tensor) -> Tensor:
        return (chosen * grey_3).sum(1, keepdim=True).repeat(1, 3, 1, 1, 1)

    return apply_by_clip(clips, u_B1[:, 0] < p, remove_color, in_place)


def solarize(clips: Tensor, u_B1: Tensor, p: float = 0.2, threshold: float = 0.5, in_place: bool = False) -> Tensor:
    """With probability p, invert values at or above the threshold; clips (B, C, T, H, W), uniforms (B, 1).

    >>> solarize(torch.tensor([0.25, 0.75]).view(1, 1, 1, 1, 2), torch.zeros(1, 1), p=1.0).flatten()
    tensor([0.2500, 0.2500])
    """

    def invert(chosen: Tensor, _: Tensor) -> Tensor:
        return torch.where(chosen < threshold, chosen, 1 - chosen)

    return apply_by_clip(clips, u_B1[:, 0] < p, invert, in_place)


def blend_still_frame(
    clips: Tensor, u_B3: Tensor, p: float = 0.7, max_weight: float = 0.6, in_place: bool = False
) -> Tensor:
    """With probability p, blend one frame of the clip, at a weight uniform up to `max_weight`, into all its frames.

    What stands still gains contrast over what moves: residual frames keep their directions and lose amplitude. Columns
    of u (B, 3): whether to apply, weight, frame. Source: Wang et al. 2021 (adding the background, at a fixed weight).

    >>> clip = torch.tensor([0.0, 1.0]).view(1, 1, 2, 1, 1)
    >>> blend_still_frame(clip, torch.tensor([[0.0, 0.5, 0.9]]), p=1.0, max_weight=0.6).flatten()
    tensor([0.3000, 1.0000])
    """

    def blend(chosen: Tensor, rows: Tensor) -> Tensor:
        u = u_B3[rows.to(u_B3.device)]
        frame_N = to_device_of(uniform_to_index(u[:, 2], chosen.shape[2]), chosen)
        still = chosen[torch.arange(len(chosen), device=chosen.device), :, frame_N][:, :, None]
        weight = to_device_of(uniform_to_range(u[:, 1], 0.0, max_weight), chosen).to(chosen.dtype).view(-1, 1, 1, 1, 1)
        return torch.lerp(chosen, still.expand_as(chosen), weight)

    return apply_by_clip(clips, u_B3[:, 0] < p, blend, in_place)


def gaussian_blur(
    clips: Tensor, u_B2: Tensor, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5, in_place: bool = False
) -> Tensor:
    """With probability p, a Gaussian blur: sigma uniform in pixels, kernel a tenth of the frame, borders reflected.

    Columns of u (B, 2): whether to apply, sigma. Source: SimCLR (23 taps at 224 pixels, so 11 at 112).
    """
    height, width = clips.shape[3:]
    radius = max(1, min(height, width) // 20)

    def blur(chosen: Tensor, rows: Tensor) -> Tensor:
        sigma_N = uniform_to_range(u_B2[rows, 1].to(chosen.dtype), *sigma)
        return convolve_frames(chosen, to_device_of(build_gaussian_kernels(sigma_N, radius), chosen))

    return apply_where(clips, u_B2[:, 0] < p, blur, in_place)


def build_gaussian_kernels(sigma_B: Tensor, radius: int) -> Tensor:
    """Normalised Gaussians of 2 radius + 1 taps, (B, K)."""
    offset_K = torch.arange(-radius, radius + 1, device=sigma_B.device)
    kernel_BK = (-0.5 * (offset_K / sigma_B[:, None]) ** 2).exp()
    return kernel_BK / kernel_BK.sum(dim=1, keepdim=True)


def convolve_frames(clips: Tensor, kernel_BK: Tensor) -> Tensor:
    """Every frame of clip b convolved with kernel b (K taps), vertically and horizontally; borders are reflected.

    Clips (B, C, T, H, W) and kernels (B, K) to (B, C, T, H, W).
    """
    radius = kernel_BK.shape[1] // 2
    per_frame = kernel_BK.repeat_interleave(clips.shape[1] * clips.shape[2], dim=0)[:, None]
    planes = F.pad(clips.flatten(1, 2), (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    planes = F.conv2d(planes, per_frame[:, :, :, None], groups=planes.shape[1])
    planes = F.conv2d(planes, per_frame[:, :, None, :], groups=planes.shape[1])
    return planes.view(clips.shape)


def normalize(clips: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std for each channel of clips (B, C, T, H, W); `mean` and `std` have C numbers.

    >>> normalize(torch.full((1, 3, 1, 1, 1), 0.5), (0.5, 0.0, 1.0), (1.0, 0.5, 0.5)).flatten()
    tensor([ 0.,  1., -1.])
    """
    shape = (-1, 1, 1, 1)
    return (clips - constant_like(mean, clips).view(shape)) / constant_like(std, clips).view(shape)
