"""Image preprocessing as in transformers, without its image processors, which need packages that unreel does not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.io.text import parse_json
from unreel.views.photometric import IMAGENET_MEAN, IMAGENET_STD

CONFIG_FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
RESAMPLING_MODES = {
    0: "nearest-exact",
    1: "bicubic",
    2: "bilinear",
    3: "bicubic",
}  # Pillow's numbers; torch has no Lanczos (1)
HALF_STATISTICS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP_STATISTICS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
MODEL_STATISTICS = {
    "clip_vision_model": CLIP_STATISTICS,
    "vit": HALF_STATISTICS,
    "deit": HALF_STATISTICS,
    "siglip_vision_model": HALF_STATISTICS,
}  # else ImageNet's
SQUASH_MODELS = (
    "vit",
    "siglip_vision_model",
    "dinov3_vit",
)  # resized to their size, whatever the shape, and not cropped
CROP_PCT_MODELS = ("resnet", "regnet", "convnext", "convnextv2")  # resized to size / crop_pct, then cropped to size
MIN_SQUASH_SIZE, CROP_PCT = 384, 224 / 256  # these warp pictures of 384 and more


@dataclass(frozen=True)
class ImagePreprocessor:
    """Resize (shorter side, or height and width), centre crop, rescale, subtract the mean, divide by the deviation."""

    resize_to: int | tuple[int, int] | None
    crop_size: tuple[int, int] | None
    rescale_factor: float
    offset: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str

    def __call__(self, clips: Tensor) -> Tensor:
        """uint8 clips (V, T, H, W, 3) to float pictures (V, T, 3, h, w) on the same device."""
        pictures = clips.flatten(0, 1).permute(0, 3, 1, 2).float()
        pictures = (
            center_crop(resize_images(pictures, self.resize_to, self.interpolation), self.crop_size)
            * self.rescale_factor
            - self.offset
        )
        mean, std = (torch.tensor(v, device=clips.device)[:, None, None] for v in (self.mean, self.std))
        return ((pictures - mean) / std).unflatten(0, clips.shape[:2])


def resize_images(images: Tensor, size: int | tuple[int, int] | None, interpolation: str) -> Tensor:
    """Pictures (B, 3, H, W) of 0..255 at another size, antialiased and rounded as Pillow does, within one level."""
    height, width = images.shape[2:]
    if isinstance(size, int):
        short = min(height, width)
        size = (int(size * height / short), int(size * width / short))
    if size is None or size == (height, width):
        return images
    smooth = {"antialias": True, "align_corners": False} if interpolation != "nearest-exact" else {}
    return F.interpolate(images, size, mode=interpolation, **smooth).round_().clamp_(0, 255)


def center_crop(images: Tensor, crop_size: tuple[int, int] | None) -> Tensor:
    """The centre of pictures (B, 3, H, W). Raises InputError where they are smaller."""
    if crop_size is None:
        return images
    height, width = images.shape[2:]
    if crop_size[0] > height or crop_size[1] > width:
        raise InputError(
            f"pictures of {height} x {width} can't be cropped to {crop_size[0]} x {crop_size[1]}; correct crop_size"
        )
    top, left = (height - crop_size[0]) // 2, (width - crop_size[1]) // 2
    return images[:, :, top : top + crop_size[0], left : left + crop_size[1]]


def read_preprocessor(folder: Path, model_type: str, network_size: int) -> ImagePreprocessor:
    """How images are prepared for a folder's model.

    Defaults: shorter side to the network's own size, centre crop, bicubic, 1 / 255, the mean and deviation of ImageNet;
    CLIP has its own, ViT and SigLIP use 0.5 and no crop. Raises InputError.
    """
    file, config = read_preprocessor_config(folder)
    try:
        resize, crop = parse_sizes(config, model_type, network_size)
        mean, std = MODEL_STATISTICS.get(model_type, (IMAGENET_MEAN, IMAGENET_STD))
        if not config.get("do_normalize", True):
            mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        else:
            mean, std = parse_channels(config.get("image_mean", mean)), parse_channels(config.get("image_std", std))
        factor = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
        mode = RESAMPLING_MODES[int(config.get("resample", 3))]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: not a valid image preprocessor configuration ({error!r})") from error
    return ImagePreprocessor(
        resize, crop, factor, 1.0 if config.get("offset") else 0.0, mean, std, mode
    )  # ViViT's offset


def read_preprocessor_config(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The preprocessor's file and its contents; the folder and {} where there is none."""
    file = next((folder / name for name in CONFIG_FILES if (folder / name).is_file()), folder)
    if file == folder:
        return folder, {}
    try:
        config = parse_json(file.read_text())
        parts = [config[name] for name in ("image_processor", "video_processor") if name in config]
        return file, {k: v for k, v in (parts[0] if parts else config).items() if v is not None}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file}: can't be read ({error})") from error


def parse_sizes(
    config: dict[str, Any], model_type: str, network_size: int
) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    """The size that an image is resized to (shorter side, or height and width), and the size of its centre crop."""
    size = config.get("size", network_size)
    short = size.get("shortest_edge") if isinstance(size, dict) else None if model_type in SQUASH_MODELS else size
    if model_type in CROP_PCT_MODELS and short is not None:
        if short >= MIN_SQUASH_SIZE:
            return (int(short), int(short)), None
        return int(short / config.get("crop_pct", CROP_PCT)), (int(short), int(short))
    target = int(short) if short is not None else parse_height_width(size)
    crops = config.get("do_center_crop", "crop_size" in config or model_type not in (*SQUASH_MODELS, *CROP_PCT_MODELS))
    return (target if config.get("do_resize", True) else None), (
        parse_height_width(config.get("crop_size", network_size)) if crops else None
    )


def parse_height_width(size: Any) -> tuple[int, int]:
    """Height and width of a size given as one number or as a dict."""
    return (int(size["height"]), int(size["width"])) if isinstance(size, dict) else (int(size), int(size))


def parse_channels(values: Any) -> tuple[float, float, float]:
    """One number for each colour."""
    red, green, blue = (float(v) for v in (values if isinstance(values, list | tuple) else [values] * 3))
    return red, green, blue
