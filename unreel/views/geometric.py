"""Crops and flips of a batch of clips; parameters are drawn once per clip, so all its frames share them.

Every random operation is a pure function `op(clips, u, ...)` of float clips (B, C, T, H, W) and uniforms u (B, n) in
[0, 1), one row per clip; NUM_UNIFORMS gives n. The result for a clip depends on its own row alone.

Source: Tao et al. 2020 (IIC), Qian et al. 2021 (CVRL).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.views.random_apply import apply_where, to_device_of, uniform_to_index, uniform_to_range

CROP_COUNTS = (1, 3, 5, 10)  # of `uniform_crops`
CROP_ATTEMPTS, CROP_AREA, CROP_ASPECT = 10, (0.3, 1.0), (0.5, 2.0)  # of a resized crop
NUM_UNIFORMS = {"random_crop": 2, "random_resized_crop": 2 * CROP_ATTEMPTS + 2, "horizontal_flip": 1}
NUM_MOVE_UNIFORMS = 4  # that a moving crop takes beside those of a resized crop


def crop_windows(clips: Tensor, top_B: Tensor, left_B: Tensor, size: int) -> Tensor:
    """The window of each clip (B, C, T, H, W) with its corner at pixel (top, left); (B, C, T, size, size)."""
    if clips.device.type == "cpu":  # whole rows are copied, where indexing goes pixel by pixel
        corners = zip(top_B.tolist(), left_B.tolist(), strict=True)
        cuts = [c[:, :, y : y + size, x : x + size] for c, (y, x) in zip(clips, corners, strict=True)]
        if clips.stride(1) != 1:
            return torch.stack(cuts)
        return torch.stack([cut.permute(1, 2, 3, 0) for cut in cuts]).permute(0, 4, 1, 2, 3)  # stays channels last
    windows = clips.unfold(3, size, 1).unfold(4, size, 1)
    return windows[
        torch.arange(len(clips), device=clips.device), :, :, to_device_of(top_B, clips), to_device_of(left_B, clips)
    ]


def check_crop_fits(clips: Tensor, size: int) -> None:
    """Raises InputError when the frames of clips (B, C, T, H, W) are smaller than the crop of `size` pixels."""
    height, width = clips.shape[3:]
    if size > min(height, width):
        raise InputError(f"a crop of {size} x {size} does not fit frames of {height} x {width}; resize them larger")


def random_crop(clips: Tensor, u_B2: Tensor, size: int) -> Tensor:
    """A window of the frame, uniform over all positions; (B, C, T, H, W) to (B, C, T, size, size). Raises InputError.

    >>> random_crop(torch.zeros(2, 3, 8, 36, 48), torch.rand(2, 2), size=32).shape
    torch.Size([2, 3, 8, 32, 32])
    """
    check_crop_fits(clips, size)
    height, width = clips.shape[3:]
    top_B, left_B = uniform_to_index(u_B2[:, 0], height - size + 1), uniform_to_index(u_B2[:, 1], width - size + 1)
    return crop_windows(clips, top_B, left_B, size)


def center_crop(clips: Tensor, size: int) -> Tensor:
    """The middle of the frame, rounded towards the top left; (B, C, T, H, W) to (B, C, T, size, size).

    Raises InputError.
    """
    check_crop_fits(clips, size)
    top, left = (clips.shape[3] - size) // 2, (clips.shape[4] - size) // 2
    return clips[:, :, :, top : top + size, left : left + size]


def uniform_crops(clips: Tensor, size: int, count: int) -> Tensor:
    """Squares of the frame, (B * count, C, T, size, size); the crops of a clip are consecutive rows.

    One is the centre crop. Five are the centre and the corners (top left, top right, bottom left, bottom right), ten
    are these and their mirror images. Any other number is evenly spread along the longer side, centred on the other.

    >>> uniform_crops(torch.zeros(2, 3, 8, 36, 48), size=32, count=3).shape
    torch.Size([6, 3, 8, 32, 32])
    """
    if count == 1:
        return center_crop(clips, size)
    check_crop_fits(clips, size)
    if count in (5, 10):
        return crop_corners(clips, size, mirrored=count == 10)
    slack = clips.shape[3] - size, clips.shape[4] - size
    along = 1 if clips.shape[4] >= clips.shape[3] else 0
    crops = []
    for k in range(count):
        corner = [pixels // 2 for pixels in slack]
        corner[along] = round(slack[along] * k / (count - 1))
        crops.append(clips[:, :, :, corner[0] : corner[0] + size, corner[1] : corner[1] + size])
    return torch.stack(crops, dim=1).flatten(0, 1)


def crop_corners(clips: Tensor, size: int, mirrored: bool) -> Tensor:
    """The centre and the four corners of each clip, and with `mirrored` their mirror images; see `uniform_crops`."""
    top_left, bottom_right = slice(0, size), slice(-size, None)
    corners = [
        clips[:, :, :, rows, columns] for rows in (top_left, bottom_right) for columns in (top_left, bottom_right)
    ]
    crops = torch.stack([center_crop(clips, size), *corners], dim=1)
    return (torch.cat([crops, crops.flip(5)], dim=1) if mirrored else crops).flatten(0, 1)


def random_resized_crop(
    clips: Tensor,
    u: Tensor,
    size: int,
    area: tuple[float, float] = CROP_AREA,
    aspect: tuple[float, float] = CROP_ASPECT,
) -> Tensor:
    """A random box of the frame, resized to (B, C, T, size, size) by bilinear interpolation, not antialiased.

    `u` are uniforms (B, 22); `area` is a share of the frame, `aspect` width / height. Source: tensorflow/models
    video_ssl.

    >>> random_resized_crop(torch.zeros(2, 3, 8, 36, 48), torch.rand(2, 22), size=32).shape
    torch.Size([2, 3, 8, 32, 32])
    """
    box_B4 = sample_crop_boxes(u, clips.shape[3], clips.shape[4], area, aspect).to(clips.dtype)
    return resize_boxes(clips.flatten(1, 2), box_B4, size).view(*clips.shape[:3], size, size)


def random_moving_crop(
    clips: Tensor, u: Tensor, u_B4: Tensor, size: int, p: float = 0.5, shift: float = 0.25, zoom: float = 0.12
) -> Tensor:
    """`random_resized_crop` whose box, with probability p, moves at constant speed through the clip, as a camera does.

    Its last place is drawn around the first: the centre within `shift` of the box, the sides within `zoom`, all
    uniform, and inside the frame. Columns of `u_B4`: whether to move, zoom, down, right. Source: our own; Huang et al.
    2021 (MoSI) move a box over a still frame.

    >>> random_moving_crop(torch.zeros(2, 3, 8, 36, 48), torch.rand(2, 22), torch.rand(2, 4), size=32).shape
    torch.Size([2, 3, 8, 32, 32])
    """
    num_frames = clips.shape[2]

    def move(chosen: Tensor, rows: Tensor) -> Tensor:
        first_N4 = sample_crop_boxes(u[rows], chosen.shape[3], chosen.shape[4]).to(chosen.dtype)
        last_N4 = move_boxes(first_N4, u_B4[rows].to(chosen.dtype), chosen.shape[3:], shift, zoom)
        way_T1 = torch.linspace(0, 1, num_frames, dtype=chosen.dtype, device=first_N4.device)[:, None]
        box_NT4 = torch.lerp(first_N4[:, None], last_N4[:, None], way_T1)
        frames = resize_boxes(chosen.transpose(1, 2).flatten(0, 1), box_NT4.flatten(0, 1), size)
        return frames.unflatten(0, (-1, num_frames)).transpose(1, 2)

    return apply_where(random_resized_crop(clips, u, size), u_B4[:, 0] < p, lambda _, rows: move(clips[rows], rows))


def move_boxes(box_B4: Tensor, u_B4: Tensor, frame: Sequence[int], shift: float, zoom: float) -> Tensor:
    """Where boxes (B, 4: top, left, height, width) of a frame (height, width) end; see `random_moving_crop`."""
    limit_2 = torch.tensor(frame, dtype=box_B4.dtype, device=box_B4.device)
    place_B2, side_B2 = box_B4[:, :2], box_B4[:, 2:]
    end_B2 = torch.minimum(side_B2 * (1 + uniform_to_range(u_B4[:, 1:2], -zoom, zoom)), limit_2)
    centre_B2 = place_B2 + side_B2 / 2 + uniform_to_range(u_B4[:, 2:], -shift, shift) * side_B2
    return torch.cat([torch.minimum((centre_B2 - end_B2 / 2).clamp(min=0), limit_2 - end_B2), end_B2], dim=1)


def resize_boxes(frames: Tensor, box_B4: Tensor, size: int) -> Tensor:
    """The box (top, left, height, width; pixels) of each of frames (B, C, H, W), resized: (B, C, size, size)."""
    height, width = frames.shape[2:]
    y_BS = to_device_of(build_axis_grid(box_B4[:, 0], box_B4[:, 2], height, size), frames)
    x_BS = to_device_of(build_axis_grid(box_B4[:, 1], box_B4[:, 3], width, size), frames)
    grid = torch.stack([x_BS[:, None].expand(-1, size, -1), y_BS[:, :, None].expand(-1, -1, size)], dim=3)
    return F.grid_sample(frames, grid, mode="bilinear", align_corners=False)


def sample_crop_boxes(
    u: Tensor,
    height: int,
    width: int,
    area: tuple[float, float] = CROP_AREA,
    aspect: tuple[float, float] = CROP_ASPECT,
) -> Tensor:
    """Top, left, height, width, int64 (B, 4): area fraction and aspect (w / h) uniform, the first of ten that fits.

    The whole frame when none fits (in 0.01 % of clips at the defaults; the released sampler tries 100 times).
    """
    area_BA = uniform_to_range(u[:, :CROP_ATTEMPTS], *area) * height * width
    aspect_BA = uniform_to_range(u[:, CROP_ATTEMPTS : 2 * CROP_ATTEMPTS], *aspect)
    h_BA, w_BA = (area_BA / aspect_BA).sqrt().round().long(), (area_BA * aspect_BA).sqrt().round().long()
    fits_BA = (h_BA <= height) & (w_BA <= width) & (h_BA > 0) & (w_BA > 0)
    first_B1 = fits_BA.int().argmax(dim=1, keepdim=True)
    any_fits_B = fits_BA.any(dim=1)
    h_B = torch.where(any_fits_B, h_BA.gather(1, first_B1)[:, 0], height)
    w_B = torch.where(any_fits_B, w_BA.gather(1, first_B1)[:, 0], width)
    top_B, left_B = uniform_to_index(u[:, -2], height - h_B + 1), uniform_to_index(u[:, -1], width - w_B + 1)
    return torch.stack([top_B, left_B, h_B, w_B], dim=1)


def build_axis_grid(start_B: Tensor, length_B: Tensor, num_in: int, num_out: int) -> Tensor:
    """Positions on an axis of num_in samples at which to read num_out values: (B, num_out) in grid_sample's [-1, 1].

    They are evenly spread over `length` samples from `start`, clamped to the centres of the border samples.
    """
    out_S = torch.arange(num_out, device=start_B.device, dtype=start_B.dtype) + 0.5
    within_BS = out_S * (length_B / num_out)[:, None]
    within_BS = torch.minimum(within_BS.clamp(min=0.5), length_B[:, None] - 0.5)
    return (start_B[:, None] + within_BS) * 2 / num_in - 1


def horizontal_flip(clips: Tensor, u_B1: Tensor, p: float = 0.5) -> Tensor:
    """Mirror clips (B, C, T, H, W) left and right with probability p; `u_B1` are uniforms (B, 1).

    Leave it out where the direction of motion matters.

    >>> horizontal_flip(torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2), torch.tensor([[0.2]]), p=0.5).flatten()
    tensor([1., 0.])
    """
    return apply_where(clips, u_B1[:, 0] < p, lambda chosen, _: chosen.flip(4))
