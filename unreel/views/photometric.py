"""Changes of colour and sharpness; parameters are drawn once per clip, so a static clip stays static.

Every random operation is a pure function `op(clips, u, ...)` of float clips (B, C, T, H, W) in [0, 1] and uniforms
u (B, n) in [0, 1), one row per clip; NUM_UNIFORMS gives n. The result for a clip depends on its own row alone.

Source: Tao et al. 2020 (IIC), Qian et al. 2021 (CVRL); colour semantics are those of torchvision's ColorJitter.
"""

import math
from collections.abc import Callable
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.views.random_apply import apply_where, constant_like, to_device_of, uniform_to_index, uniform_to_range

NUM_UNIFORMS = {"color_jitter": 6, "grayscale": 1, "gaussian_blur": 2, "solarize": 1, "blend_still_frame": 3}
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
RGB_TO_YIQ = (LUMA_WEIGHTS, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
JITTER_ORDERS = tuple(permutations(range(4)))
ColorOperations = Callable[[Tensor, Tensor, list[Tensor]], Tensor]  # clips, their order (B, K), amounts
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def color_jitter(
    clips: Tensor,
    u: Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    p: float = 1.0,
    operations: ColorOperations | None = None,
) -> Tensor:
    """With probability p change brightness, contrast, saturation and hue in random order, clipped to [0, 1] after each.

    Factors are uniform over [max(0, 1 - x), 1 + x], the hue turn over [-hue, hue] of the circle. Contrast blends with
    the mean grey of the whole clip, since a mean per frame would flicker. Hue is a rotation in YIQ, which keeps the
    luma; torchvision and TensorFlow rotate HSV. `operations` may stand in for `apply_color_operations`. Columns of u
    (B, 6): whether to apply, four amounts, the order.

    >>> clips = torch.full((2, 3, 4, 8, 8), 0.5)
    >>> torch.equal(color_jitter(clips, torch.rand(2, 6), 0, 0, 0, 0, p=0), clips)
    True
    """
    ranges = [(max(0.0, 1 - x), 1 + x) for x in (brightness, contrast, saturation)] + [(-hue, hue)]

    def jitter(chosen: Tensor, rows: Tensor) -> Tensor:
        u_N = u[rows].to(chosen.dtype)
        amounts = [uniform_to_range(u_N[:, k + 1], *ranges[k]) for k in range(4)]
        orders_P4 = torch.tensor(JITTER_ORDERS, device=u.device)
        order_N4 = orders_P4[uniform_to_index(u_N[:, 5], len(JITTER_ORDERS))]
        return (operations or apply_color_operations)(chosen, order_N4, amounts)

    return apply_where(clips, u[:, 0] < p, jitter)


def apply_color_operations(clips: Tensor, order_BK: Tensor, amounts: list[Tensor]) -> Tensor:
    """K colour operations per clip (0 brightness, 1 contrast, 2 saturation, 3 hue), clipped to [0, 1] after each.

    Clips (B, 3, T, H, W) keep their shape; `order_BK` is int64 (B, K), `amounts` has four tensors (B,). Each operation
    is a 3x3 matrix and an offset, so different operations on different clips are one batched product. Two buffers serve
    in turn, since on a CPU fresh memory costs more than the product.
    """
    eye, grey_3 = torch.eye(3).to(amounts[0]), constant_like(LUMA_WEIGHTS, amounts[0])
    b, c, s = (a[:, None, None] for a in amounts[:3])
    matrices = (b * eye, c * eye.expand(len(clips), 3, 3), s * eye + (1 - s) * grey_3, build_hue_matrix(amounts[3]))
    rows_B1 = torch.arange(len(clips), device=order_BK.device)[:, None]
    matrix_BK33 = to_device_of(torch.stack(matrices, dim=1)[rows_B1, order_BK], clips)
    grey_share_BK = to_device_of(torch.where(order_BK == 1, 1 - amounts[1][:, None], 0), clips)
    grey_31, flat = to_device_of(grey_3, clips)[:, None], clips.flatten(2)
    buffers = torch.empty_like(flat), torch.empty_like(flat)
    for k in range(order_BK.shape[1]):
        offset_B11 = (grey_share_BK[:, k, None] * (flat.mean(dim=2) @ grey_31))[:, None]
        torch.baddbmm(offset_B11.expand(-1, 3, 1), matrix_BK33[:, k], flat, out=buffers[k % 2])
        flat = buffers[k % 2].clamp_(0, 1)
    return flat.view(clips.shape)


def build_hue_matrix(turn_B: Tensor) -> Tensor:
    """(B, 3, 3) on RGB columns: rotation of the chroma by 2 pi * turn about the luma axis."""
    to_yiq = torch.tensor(RGB_TO_YIQ, dtype=torch.float64)
    cos, sin = (2 * math.pi * turn_B).cos(), (2 * math.pi * turn_B).sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turn_B33 = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return to_yiq.inverse().to(turn_B) @ turn_B33 @ to_yiq.to(turn_B)


def grayscale(clips: Tensor, u_B1: Tensor, p: float = 0.2) -> Tensor:
    """With probability p, three equal channels of luma; clips (B, 3, T, H, W), uniforms (B, 1)."""
    grey_3 = constant_like(LUMA_WEIGHTS, clips)[:, None, None, None]
    return apply_where(
        clips, u_B1[:, 0] < p, lambda chosen, _: (chosen * grey_3).sum(1, keepdim=True).expand_as(chosen)
    )


def solarize(clips: Tensor, u_B1: Tensor, p: float = 0.2, threshold: float = 0.5) -> Tensor:
    """With probability p, invert values at or above the threshold; clips (B, C, T, H, W), uniforms (B, 1).

    >>> solarize(torch.tensor([0.25, 0.75]).view(1, 1, 1, 1, 2), torch.zeros(1, 1), p=1.0).flatten()
    tensor([0.2500, 0.2500])
    """
    return apply_where(clips, u_B1[:, 0] < p, lambda chosen, _: torch.where(chosen < threshold, chosen, 1 - chosen))


def blend_still_frame(clips: Tensor, u_B3: Tensor, p: float = 0.7, max_weight: float = 0.6) -> Tensor:
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

    return apply_where(clips, u_B3[:, 0] < p, blend)


def gaussian_blur(clips: Tensor, u_B2: Tensor, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5) -> Tensor:
    """With probability p, a Gaussian blur: sigma uniform in pixels, kernel a tenth of the frame, borders reflected.

    Columns of u (B, 2): whether to apply, sigma. Source: SimCLR (23 taps at 224 pixels, so 11 at 112).
    """
    height, width = clips.shape[3:]
    radius = max(1, min(height, width) // 20)

    def blur(chosen: Tensor, rows: Tensor) -> Tensor:
        sigma_N = uniform_to_range(u_B2[rows, 1].to(chosen.dtype), *sigma)
        return convolve_frames(chosen, to_device_of(build_gaussian_kernels(sigma_N, radius), chosen))

    return apply_where(clips, u_B2[:, 0] < p, blur)


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
    return convolve_planes(F.pad(clips.flatten(1, 2), (radius,) * 4, mode="reflect"), kernel_BK).view(clips.shape)


def convolve_planes(padded: Tensor, kernel_BK: Tensor) -> Tensor:
    """Pictures (B, N, H + K - 1, W + K - 1) convolved vertically and horizontally with kernel b; (1, B * N, H, W)."""
    per_picture = kernel_BK.repeat_interleave(padded.shape[1], dim=0)[:, None]
    planes = padded.flatten(0, 1)[None]
    planes = F.conv2d(planes, per_picture[:, :, :, None], groups=planes.shape[1])
    return F.conv2d(planes, per_picture[:, :, None, :], groups=planes.shape[1])


def normalize(clips: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std for each channel of clips (B, C, T, H, W); `mean` and `std` have C numbers.

    >>> normalize(torch.full((1, 3, 1, 1, 1), 0.5), (0.5, 0.0, 1.0), (1.0, 0.5, 0.5)).flatten()
    tensor([ 0.,  1., -1.])
    """
    shape = (-1, 1, 1, 1)
    return (clips - constant_like(mean, clips).view(shape)) / constant_like(std, clips).view(shape)
