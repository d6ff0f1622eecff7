"""Vision and video models of transformers in a local folder, as frozen models.

The feature is `pooler_output` of image models (CLIP: CLS after the last norm, before the projection; SigLIP: its
attention head; DINO: CLS; ResNet, ConvNeXt: the spatial average), CLS of ViT, DeiT, TimeSformer and ViViT, and the mean
over tokens of VideoMAE and V-JEPA 2, which have no CLS.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.io.text import parse_json
from unreel.models.backbones.huggingface import (
    TRANSFORMER_KINDS,
    VideoTransformer,
    config_to_json,
    import_transformers,
    load_pretrained,
    read_network,
    select_network_fields,
    set_clip_size,
    to_scalar,
)
from unreel.models.frozen.frozen_model import FrozenModel, sample_frame_indices
from unreel.models.frozen.image_preprocessing import read_preprocessor
from unreel.video.sampling.clip_spec import ClipSpec

VISION_TOWERS = {
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
}  # models with a text tower beside the one used
IMAGE_MODELS = {
    "clip_vision_model": "CLIPVisionModel",
    "convnext": "ConvNextModel",
    "convnextv2": "ConvNextV2Model",
    "deit": "DeiTModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
    "regnet": "RegNetModel",
    "resnet": "ResNetModel",
    "siglip_vision_model": "SiglipVisionModel",
    "vit": "ViTModel",
}
UNTRAINED_POOLER_MODELS = ("vit", "deit")  # published ones often have random pooler weights, so CLS is used
UNUSED_WEIGHTS = ("mask_token", "num_batches_tracked")  # weights that no feature depends on


def load_transformers_model(folder: Path, clip: ClipSpec, num_images: int) -> FrozenModel:
    """The model in a folder; image models get `num_images` frames of each clip.

    Video models get as many frames as they were built for, or fewer where they can and the clip is shorter. Raises
    InputError for a folder without such a model or without all of its weights.
    """
    kind, length = read_model_type(folder), clip.num_frames
    with silence_transformers(), torch.random.fork_rng(devices=[]):  # unused weights may be initialised at random
        network, size, required_frames = (
            load_video_network(folder, kind, length) if kind in TRANSFORMER_KINDS else load_image_network(folder, kind)
        )
    indices = clip.lead_in + sample_frame_indices(length, required_frames or num_images)
    tower = VISION_TOWERS.get(kind, kind)
    name = f"frozen {folder.name} ({kind})"
    return FrozenModel(name, network, read_preprocessor(folder, tower, size), indices, choose_features(tower))


def choose_features(model_type: str) -> Callable[[nn.Module, Tensor], Tensor]:
    """What computes the features (V, D) of prepared pictures (V, T, 3, h, w) by a network of this type."""
    if model_type in TRANSFORMER_KINDS:
        has_prefix = TRANSFORMER_KINDS[model_type].num_prefix_tokens > 0
        return compute_first_token if has_prefix else compute_mean_token
    return average_first_token if model_type in UNTRAINED_POOLER_MODELS else average_pooled


def compute_first_token(network: Any, images_VTCHW: Tensor) -> Tensor:
    """CLS of a video model."""
    first_VD: Tensor = network.call_network(images_VTCHW.transpose(1, 2)).last_hidden_state[:, 0]
    return first_VD


def compute_mean_token(network: Any, images_VTCHW: Tensor) -> Tensor:
    """The mean over the tokens of a video model."""
    mean_VD: Tensor = network.call_network(images_VTCHW.transpose(1, 2)).last_hidden_state.mean(dim=1)
    return mean_VD


def average_first_token(network: Any, images_VTCHW: Tensor) -> Tensor:
    """CLS of an image model, averaged over frames."""
    return average_frames(network(pixel_values=images_VTCHW.flatten(0, 1)).last_hidden_state[:, 0], images_VTCHW)


def average_pooled(network: Any, images_VTCHW: Tensor) -> Tensor:
    """`pooler_output` of an image model, averaged over frames."""
    return average_frames(network(pixel_values=images_VTCHW.flatten(0, 1)).pooler_output, images_VTCHW)


def average_frames(features: Tensor, images_VTCHW: Tensor) -> Tensor:
    return features.flatten(1).unflatten(0, images_VTCHW.shape[:2]).mean(dim=1)


def read_model_type(folder: Path) -> str:
    """The `model_type` in a folder's config.json. Raises InputError for one that can't be a baseline."""
    file = folder / "config.json"
    try:
        kind = str(parse_json(file.read_text())["model_type"])
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: not a folder with a model of transformers (no config.json there); unreel downloads no weights"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not the configuration of a model of transformers ({error!r})") from error
    known = sorted({*TRANSFORMER_KINDS, *IMAGE_MODELS, *VISION_TOWERS})
    if kind not in known:
        raise InputError(
            f"{folder}: '{kind}' is not a vision or video model that unreel knows. Known: {', '.join(known)}"
        )
    return kind


def load_video_network(folder: Path, model_type: str, num_frames: int) -> tuple[nn.Module, int, int]:
    """A video model at the size it was built for, that size, and its number of frames."""
    config, about = read_network_config(folder, model_type), TRANSFORMER_KINDS[model_type]
    size, pretrained_length = to_scalar(getattr(config, about.size_field)), int(getattr(config, about.frames_field))
    step = to_scalar(getattr(config, "tubelet_size", 1))
    # learned positions fit one length only, others any multiple of the tubelet size
    shorter = num_frames - num_frames % step
    count = pretrained_length if about.has_learned_positions or shorter < step else min(pretrained_length, shorter)
    set_clip_size(config, size, count, has_weights=True)
    network = load_pretrained(config, folder)
    encoder = network.encoder if model_type == "vjepa2" else network  # the rest of it predicts masked tokens
    return VideoTransformer(encoder, folder.name, size, count, config_to_json(config)), size, count


def load_image_network(folder: Path, model_type: str) -> tuple[nn.Module, int, int]:
    """An image model, the size it was built for (224 if any), and 0, since the number of frames is free."""
    tower = VISION_TOWERS.get(model_type, model_type)
    config, make = read_network_config(folder, tower), getattr(import_transformers(), IMAGE_MODELS[tower])
    bare = {"add_pooling_layer": False} if tower in UNTRAINED_POOLER_MODELS else {}
    network = read_network(make, config, folder, lambda name: name.endswith(UNUSED_WEIGHTS), **bare)
    return network, to_scalar(getattr(config, "image_size", None) or 224), 0


def read_network_config(folder: Path, model_type: str) -> Any:
    """The configuration of the vision part, reduced to fields that describe the network.

    Published files contain leftovers of older versions, and other fields could name code or kernels to download.
    """
    auto = import_transformers().AutoConfig
    try:
        read = auto.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        fields = select_network_fields(import_transformers(), getattr(read, "vision_config", read))
        known = select_network_fields(import_transformers(), auto.for_model(model_type))
        return auto.for_model(model_type, **{name: fields[name] for name in known if name in fields})
    except Exception as error:  # the errors of the library differ between versions
        raise InputError(f"{folder / 'config.json'}: not the configuration of a {model_type} ({error})") from error


@contextmanager
def silence_transformers() -> Iterator[None]:
    """No progress bars and no list of unused weights (a text tower, a classifier) while a model is loaded."""
    logging = import_transformers().utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
