"""Augmentation of a batch of clips on any device, its chance drawn once a clip and so the same for all its frames.

Every operation is a pure function `op(clips, u, ...)` of float clips (B, C, T, H, W) in [0, 1] and uniforms u (B, n) in
[0, 1), one row a clip; DRAWS says n. A clip's result depends on its own row alone, and a static clip stays static.
Uniforms may stay on the CPU, and do in training: who is chosen is then known without waiting for a GPU, and what is
made of them (boxes, kernels, colour matrices) is small enough to be sent.

Source: the releases of IIC, IICv2 and CVRL; colour semantics are torchvision's ColorJitter.
"""

import math
from collections.abc import Callable, Sequence
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError

CROP_ATTEMPTS = 10
NUM_UNIFORMS = {
    "random_crop": 2,
    "random_resized_crop": 2 * CROP_ATTEMPTS + 2,
    "horizontal_flip": 1,
    "color_jitter": 6,
    "grayscale": 1,
    "gaussian_blur": 2,
    "solarize": 1,
}
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
RGB_TO_YIQ = (LUMA_WEIGHTS, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
JITTER_ORDERS = tuple(permutations(range(4)))


def uniform_to_index(u_B: Tensor, count: Tensor | int) -> Tensor:
    """int64 (B,) uniform over 0..count-1; the minimum is for u * count that rounds up to count."""
    return torch.minimum((u_B * count).long(), torch.as_tensor(count, device=u_B.device) - 1)


def uniform_to_range(u_B: Tensor, low: float, high: float) -> Tensor:
    """Uniform over [low, high)."""
    return low + (high - low) * u_B


def to_device_of(x: Tensor, reference: Tensor) -> Tensor:
    """`x` where `like` is; a GPU is not waited for."""
    return x.to(reference.device, non_blocking=reference.is_cuda)


def constant_like(values: Sequence[float], reference: Tensor) -> Tensor:
    """A few numbers of the type of `like`, where it is."""
    return to_device_of(torch.tensor(values, dtype=reference.dtype), reference)


def apply_where(clips: Tensor, mask_B: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`change(chosen clips, their rows)` in the place of the chosen clips; only they cost anything.

    The rows are where `chosen_B` is.
    """
    rows = mask_B.nonzero()[:, 0]
    if not len(rows):
        return clips
    there = to_device_of(rows, clips)
    return clips.index_copy(0, there, operation(clips[there], rows))


# Where: crops and flips.


def crop_windows(clips: Tensor, top_B: Tensor, left_B: Tensor, size: int) -> Tensor:
    """The (size, size) window of each clip whose corner is (top, left); (B, C, T, size, size)."""
    windows = clips.unfold(3, size, 1).unfold(4, size, 1)
    return windows[
        torch.arange(len(clips), device=clips.device), :, :, to_device_of(top_B, clips), to_device_of(left_B, clips)
    ]


def check_crop_fits(clips: Tensor, size: int) -> None:
    """Raises InputError when the frames are smaller than the crop."""
    height, width = clips.shape[3:]
    if size > min(height, width):
        raise InputError(f"a crop of {size} x {size} does not fit frames of {height} x {width}; resize them larger")


def random_crop(clips: Tensor, u_B2: Tensor, size: int) -> Tensor:
    """A (size, size) window anywhere in the frame, every position with the same chance. Raises InputError."""
    check_crop_fits(clips, size)
    height, width = clips.shape[3:]
    top_B, left_B = uniform_to_index(u_B2[:, 0], height - size + 1), uniform_to_index(u_B2[:, 1], width - size + 1)
    return crop_windows(clips, top_B, left_B, size)


def center_crop(clips: Tensor, size: int) -> Tensor:
    """The middle (size, size) of the frame; rounds towards the top left. Raises InputError."""
    check_crop_fits(clips, size)
    top, left = (clips.shape[3] - size) // 2, (clips.shape[4] - size) // 2
    return clips[:, :, :, top : top + size, left : left + size]


def uniform_crops(clips: Tensor, size: int, count: int) -> Tensor:
    """`count` squares evenly spread along the longer side, in the middle of the other: (B * count, C, T, size, size).

    One is the centre. The crops of a clip stand beside each other.
    """
    if count == 1:
        return center_crop(clips, size)
    check_crop_fits(clips, size)
    room = clips.shape[3] - size, clips.shape[4] - size
    along = 1 if clips.shape[4] >= clips.shape[3] else 0
    crops = []
    for k in range(count):
        corner = [r // 2 for r in room]
        corner[along] = round(room[along] * k / (count - 1))
        crops.append(clips[:, :, :, corner[0] : corner[0] + size, corner[1] : corner[1] + size])
    return torch.stack(crops, dim=1).flatten(0, 1)


def random_resized_crop(
    clips: Tensor,
    u: Tensor,
    size: int,
    area: tuple[float, float] = (0.3, 1.0),
    aspect: tuple[float, float] = (0.5, 2.0),
) -> Tensor:
    """A random box of the frame, resized to (size, size) by bilinear interpolation, not antialiased; 22 uniforms.

    Source: tensorflow/models video_ssl.
    """
    height, width = clips.shape[3:]
    top_B, left_B, height_B, width_B = (x.to(clips.dtype) for x in sample_crop_boxes(u, height, width, area, aspect))
    y_BS = to_device_of(build_axis_grid(top_B, height_B, height, size), clips)
    x_BS = to_device_of(build_axis_grid(left_B, width_B, width, size), clips)
    grid = torch.stack([x_BS[:, None].expand(-1, size, -1), y_BS[:, :, None].expand(-1, -1, size)], dim=3)
    out = F.grid_sample(clips.flatten(1, 2), grid, mode="bilinear", align_corners=False)
    return out.view(*clips.shape[:3], size, size)


def sample_crop_boxes(
    u: Tensor, height: int, width: int, area: tuple[float, float], aspect: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height, width, each (B,): area fraction and aspect (w / h) uniform, the first of ten that fits.

    The whole frame when none fits (in 0.01 % of clips at the defaults; the released sampler tries 100 times).
    """
    area_BA = uniform_to_range(u[:, :CROP_ATTEMPTS], *area) * height * width
    aspect_BA = uniform_to_range(u[:, CROP_ATTEMPTS : 2 * CROP_ATTEMPTS], *aspect)
    h_BA, w_BA = (area_BA / aspect_BA).sqrt().round().long(), (area_BA * aspect_BA).sqrt().round().long()
    fits_BA = (h_BA <= height) & (w_BA <= width) & (h_BA > 0) & (w_BA > 0)
    first_B1 = fits_BA.int().argmax(dim=1, keepdim=True)
    found_B = fits_BA.any(dim=1)
    h_B = torch.where(found_B, h_BA.gather(1, first_B1)[:, 0], height)
    w_B = torch.where(found_B, w_BA.gather(1, first_B1)[:, 0], width)
    return uniform_to_index(u[:, -2], height - h_B + 1), uniform_to_index(u[:, -1], width - w_B + 1), h_B, w_B


def build_axis_grid(start_B: Tensor, length_B: Tensor, num_in: int, num_out: int) -> Tensor:
    """Where along an axis of num_in samples to read num_out of them, (B, num_out) in grid_sample's [-1, 1].

    Evenly over `length` samples from `start`, never nearer to the outside of the box than its border samples.
    """
    out_S = torch.arange(num_out, device=start_B.device, dtype=start_B.dtype) + 0.5
    within_BS = out_S * (length_B / num_out)[:, None]
    within_BS = torch.minimum(within_BS.clamp(min=0.5), length_B[:, None] - 0.5)
    return (start_B[:, None] + within_BS) * 2 / num_in - 1


def horizontal_flip(clips: Tensor, u_B1: Tensor, p: float = 0.5) -> Tensor:
    """Mirror left and right with chance p. It merges what differs by direction, so leave it out where that matters."""
    return apply_where(clips, u_B1[:, 0] < p, lambda chosen, _: chosen.flip(4))


# What colour.


def color_jitter(
    clips: Tensor, u: Tensor, brightness: float, contrast: float, saturation: float, hue: float, p: float = 1.0
) -> Tensor:
    """With chance p brightness, contrast, saturation and hue in random order, clipped to [0, 1] after each; 6 uniforms.

    Factors are uniform over [max(0, 1 - x), 1 + x], the hue turn over [-hue, hue] of the circle. Contrast blends with
    the mean grey of the whole clip, since a mean for each frame would flicker. Hue is a rotation in YIQ, which keeps
    the luma; torchvision and TensorFlow turn HSV. u: whether, four amounts, the order.
    """
    ranges = [(max(0.0, 1 - x), 1 + x) for x in (brightness, contrast, saturation)] + [(-hue, hue)]

    def jitter(chosen: Tensor, rows: Tensor) -> Tensor:
        u_N = u[rows].to(chosen.dtype)
        amounts = [uniform_to_range(u_N[:, k + 1], *ranges[k]) for k in range(4)]
        orders_P4 = torch.tensor(JITTER_ORDERS, device=u.device)
        for op_N in orders_P4[uniform_to_index(u_N[:, 5], len(JITTER_ORDERS))].T:
            chosen = apply_color_operations(chosen, op_N, amounts)
        return chosen

    return apply_where(clips, u[:, 0] < p, jitter)


def apply_color_operations(clips: Tensor, op_B: Tensor, amounts: list[Tensor]) -> Tensor:
    """One of the four colour operations for each clip (0 brightness, 1 contrast, 2 saturation, 3 hue), clipped.

    All four are a 3x3 matrix and an offset, so a round of different operations is one batched product.
    """
    eye, grey_3 = torch.eye(3).to(amounts[0]), constant_like(LUMA_WEIGHTS, amounts[0])
    b, c, s = (a[:, None, None] for a in amounts[:3])
    matrices = (b * eye, c * eye.expand(len(clips), 3, 3), s * eye + (1 - s) * grey_3, build_hue_matrix(amounts[3]))
    matrix_B33 = torch.stack(matrices, dim=1)[torch.arange(len(clips), device=op_B.device), op_B]
    grey_B = clips.mean(dim=(2, 3, 4)) @ to_device_of(grey_3, clips)
    offset_B = torch.where(to_device_of(op_B == 1, clips), to_device_of(1 - amounts[1], clips) * grey_B, 0)
    flat = torch.baddbmm(offset_B[:, None, None].expand(-1, 3, 1), to_device_of(matrix_B33, clips), clips.flatten(2))
    return flat.clamp_(0, 1).view(clips.shape)


def build_hue_matrix(turn_B: Tensor) -> Tensor:
    """(B, 3, 3) on RGB columns: chroma turned by 2 pi turn about the luma axis."""
    to_yiq = torch.tensor(RGB_TO_YIQ, dtype=torch.float64)
    cos, sin = (2 * math.pi * turn_B).cos(), (2 * math.pi * turn_B).sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turn_B33 = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return to_yiq.inverse().to(turn_B) @ turn_B33 @ to_yiq.to(turn_B)


def grayscale(clips: Tensor, u_B1: Tensor, p: float = 0.2) -> Tensor:
    """With chance p three equal channels of luma."""
    grey_3 = constant_like(LUMA_WEIGHTS, clips)[:, None, None, None]
    return apply_where(
        clips, u_B1[:, 0] < p, lambda chosen, _: (chosen * grey_3).sum(1, keepdim=True).expand_as(chosen)
    )


def solarize(clips: Tensor, u_B1: Tensor, p: float = 0.2, threshold: float = 0.5) -> Tensor:
    """With chance p values from the threshold up are inverted."""
    return apply_where(clips, u_B1[:, 0] < p, lambda chosen, _: torch.where(chosen < threshold, chosen, 1 - chosen))


def gaussian_blur(clips: Tensor, u_B2: Tensor, sigma: tuple[float, float] = (0.1, 2.0), p: float = 0.5) -> Tensor:
    """With chance p a Gaussian blur, sigma uniform in pixels, kernel a tenth of the frame wide, borders reflected.

    u: whether, sigma. Source: SimCLR (23 taps at 224 pixels, so 11 at 112).
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
    """Every frame of clip b with its own kernel, down and across, borders reflected: one grouped convolution each."""
    radius = kernel_BK.shape[1] // 2
    per_frame = kernel_BK.repeat_interleave(clips.shape[1] * clips.shape[2], dim=0)[:, None]
    planes = F.pad(clips.flatten(1, 2), (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    planes = F.conv2d(planes, per_frame[:, :, :, None], groups=planes.shape[1])
    planes = F.conv2d(planes, per_frame[:, :, None, :], groups=planes.shape[1])
    return planes.view(clips.shape)


def normalize(clips: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std for each channel."""
    shape = (-1, 1, 1, 1)
    return (clips - constant_like(mean, clips).view(shape)) / constant_like(std, clips).view(shape)
