"""What the image processors of transformers do to a picture, without them: they need packages that unreel does not."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.views.recipe import IMAGENET_MEAN, IMAGENET_STD

FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
MODES = {0: "nearest-exact", 1: "bicubic", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers; torch has no Lanczos (1)
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
STATISTICS = {"clip_vision_model": CLIP, "vit": HALF, "deit": HALF, "siglip_vision_model": HALF}  # else ImageNet's
WARPED = ("vit", "siglip_vision_model", "dinov3_vit")  # resized to their size, whatever the shape, and not cropped
CROP_SHARE = ("resnet", "regnet", "convnext", "convnextv2")  # resized to size / crop_pct, then cropped to size
WARP_FROM, CROP_PCT = 384, 224 / 256  # these warp pictures of 384 and more


@dataclass(frozen=True)
class Preparation:
    """Resize (shorter side, or height and width), centre crop, rescale, subtract the mean, divide by the deviation."""

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    factor: float
    offset: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mode: str

    def __call__(self, clips: Tensor) -> Tensor:
        """uint8 clips (V, T, H, W, 3) to float pictures (V, T, 3, h, w) on the same device."""
        pictures = clips.flatten(0, 1).permute(0, 3, 1, 2).float()
        pictures = cropped(resized(pictures, self.resize, self.mode), self.crop) * self.factor - self.offset
        mean, std = (torch.tensor(v, device=clips.device)[:, None, None] for v in (self.mean, self.std))
        return ((pictures - mean) / std).unflatten(0, clips.shape[:2])


def resized(pictures: Tensor, size: int | tuple[int, int] | None, mode: str) -> Tensor:
    """Pictures (B, 3, H, W) of 0..255 at another size, antialiased and rounded as Pillow does, within one level."""
    height, width = pictures.shape[2:]
    if isinstance(size, int):
        short = min(height, width)
        size = (int(size * height / short), int(size * width / short))
    if size is None or size == (height, width):
        return pictures
    smooth = {"antialias": True, "align_corners": False} if mode != "nearest-exact" else {}
    return F.interpolate(pictures, size, mode=mode, **smooth).round_().clamp_(0, 255)


def cropped(pictures: Tensor, crop: tuple[int, int] | None) -> Tensor:
    """The centre of pictures (B, 3, H, W). Raises InputError where they are smaller."""
    if crop is None:
        return pictures
    height, width = pictures.shape[2:]
    if crop[0] > height or crop[1] > width:
        raise InputError(f"pictures of {height} x {width} can't be cropped to {crop[0]} x {crop[1]}; correct crop_size")
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return pictures[:, :, top : top + crop[0], left : left + crop[1]]


def read_preparation(folder: Path, kind: str, size: int) -> Preparation:
    """How a folder's model wants its pictures.

    Where the folder says nothing: shorter side to the network's own `size`, centre crop, bicubic, 1 / 255, the mean
    and deviation of ImageNet; CLIP has its own, ViT and SigLIP 0.5 and no crop. Raises InputError.
    """
    file, said = read_settings(folder)
    try:
        resize, crop = sizes(said, kind, size)
        mean, std = STATISTICS.get(kind, (IMAGENET_MEAN, IMAGENET_STD))
        if not said.get("do_normalize", True):
            mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        else:
            mean, std = three(said.get("image_mean", mean)), three(said.get("image_std", std))
        factor = float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0
        mode = MODES[int(said.get("resample", 3))]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: not understood as the preparation of pictures ({error!r})") from error
    return Preparation(resize, crop, factor, 1.0 if said.get("offset") else 0.0, mean, std, mode)  # ViViT's offset


def read_settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that says how pictures are prepared, and what it says; nothing, where there is none."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), folder)
    if file == folder:
        return folder, {}
    try:
        said = json.loads(file.read_text())
        parts = [said[name] for name in ("image_processor", "video_processor") if name in said]
        return file, {k: v for k, v in (parts[0] if parts else said).items() if v is not None}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file}: can't be read ({error})") from error


def sizes(said: dict[str, Any], kind: str, own: int) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    """To what a picture is resized (shorter side, or height and width), and what is cropped from its centre."""
    size = said.get("size", own)
    short = size.get("shortest_edge") if isinstance(size, dict) else None if kind in WARPED else size
    if kind in CROP_SHARE and short is not None:
        if short >= WARP_FROM:
            return (int(short), int(short)), None
        return int(short / said.get("crop_pct", CROP_PCT)), (int(short), int(short))
    target = int(short) if short is not None else sides(size)
    crops = said.get("do_center_crop", "crop_size" in said or kind not in (*WARPED, *CROP_SHARE))
    return (target if said.get("do_resize", True) else None), (sides(said.get("crop_size", own)) if crops else None)


def sides(size: Any) -> tuple[int, int]:
    """Height and width of a size that is one number or names them."""
    return (int(size["height"]), int(size["width"])) if isinstance(size, dict) else (int(size), int(size))


def three(values: Any) -> tuple[float, float, float]:
    """One number for each colour."""
    red, green, blue = (float(v) for v in (values if isinstance(values, list | tuple) else [values] * 3))
    return red, green, blue
