"""Public models as baselines: a frozen vision or video model of transformers in a local folder.

It gets the same decoded frames as the encoder, resized to its own size. Image models get a few frames of each clip, one
at a time, and their features are averaged, so they know no order and no motion. Nothing is downloaded.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.evaluation.baselines.image_preprocessing import ImagePreprocessor, read_preprocessor
from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.video_features import FeatureKey
from unreel.models.backbones.huggingface import (
    TRANSFORMER_KINDS,
    VideoTransformer,
    config_to_json,
    import_transformers,
    load_pretrained,
    select_network_fields,
    set_clip_size,
    to_scalar,
)
from unreel.models.encoder.spec import EncoderSpec

POOLED_LAYER, RGB_VIEW = "pooled", "rgb"
IMAGES_PER_BATCH = 64
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


@dataclass
class ExternalModel:
    """A network, the frames of each clip that it gets, and how these are prepared.

    The feature is `pooler_output` of image models (CLIP: CLS after the last norm, before the projection; SigLIP: its
    attention head; DINO: CLS; ResNet, ConvNeXt: the spatial average), CLS of ViT, DeiT, TimeSformer and ViViT,
    and the mean over tokens of VideoMAE and V-JEPA 2, which have no CLS.
    """

    name: str
    model_type: str
    network: Any
    preprocessor: ImagePreprocessor
    frame_indices: np.ndarray
    lead_in: int

    @torch.inference_mode()
    def extract_features(self, clips: np.ndarray) -> np.ndarray:
        """float32 (V, D) of uint8 clips (V, lead_in + T, H, W, C)."""
        device = next(self.network.parameters()).device
        chosen = torch.from_numpy(clips[:, self.lead_in + self.frame_indices])
        at_once = max(1, IMAGES_PER_BATCH // len(self.frame_indices))
        parts = [self.forward_images(self.preprocessor(part.to(device))) for part in chosen.split(at_once)]
        return torch.cat(parts).float().cpu().numpy()

    def forward_images(self, images_VTCHW: Tensor) -> Tensor:
        """Features (V, D) of prepared images."""
        if self.model_type in TRANSFORMER_KINDS:
            tokens_VND = self.network.call_network(images_VTCHW.transpose(1, 2)).last_hidden_state
            return tokens_VND[:, 0] if TRANSFORMER_KINDS[self.model_type].num_prefix_tokens else tokens_VND.mean(dim=1)
        output = self.network(pixel_values=images_VTCHW.flatten(0, 1))
        pooled = output.last_hidden_state[:, 0] if self.model_type in UNTRAINED_POOLER_MODELS else output.pooler_output
        return pooled.flatten(1).unflatten(0, images_VTCHW.shape[:2]).mean(dim=1)

    def extract_views(self, clips: np.ndarray, number: int) -> dict[FeatureKey, dict[str, np.ndarray]]:
        return {FeatureKey(self.name, POOLED_LAYER): {RGB_VIEW: self.extract_features(clips)}}


def load_external_extractor(
    folder: str | Path, spec: EncoderSpec, num_frames: int = 4, device: str | torch.device = "cpu"
) -> tuple[str, FeatureExtractor]:
    """The row name of the model in a folder, and its extractor; image models get `num_frames` of each clip.

    Video models get as many frames as they were built for, or fewer where they can and the clip is shorter. Raises
    InputError for a folder without such a model, without all of its weights, or with an unfitting image size.
    """
    folder = Path(folder).resolve()
    if num_frames < 1:
        raise InputError(f"an image model needs at least 1 frame of each clip, got num_frames={num_frames}")
    kind, length = read_model_type(folder), spec.clip.num_frames
    with silence_transformers(), torch.random.fork_rng(devices=[]):  # unused weights may be initialised at random
        network, size, required_frames = (
            load_video_network(folder, kind, length) if kind in TRANSFORMER_KINDS else load_image_network(folder, kind)
        )
    frames = sample_frame_indices(length, required_frames or num_frames)
    preparation = read_preprocessor(folder, VISION_TOWERS.get(kind, kind), size)
    name = f"frozen {folder.name} ({kind})"
    model = ExternalModel(
        name, VISION_TOWERS.get(kind, kind), network.to(device).eval(), preparation, frames, spec.clip.lead_in
    )
    try:
        model.extract_features(np.zeros((1, spec.clip.total_frames, *spec.views.resize_hw, 3), np.uint8))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{folder}: the model fails on a clip prepared as {preparation}: {error}") from error
    return name, model.extract_views


def read_model_type(folder: Path) -> str:
    """The `model_type` in a folder's config.json. Raises InputError for one that can't be a baseline."""
    file = folder / "config.json"
    try:
        kind = str(json.loads(file.read_text())["model_type"])
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


def sample_frame_indices(num_frames: int, num_samples: int) -> np.ndarray:
    """`num_samples` of `num_frames` frames, each the middle of one of equal parts; int64, repeated where too few."""
    return ((np.arange(num_samples) + 0.5) * num_frames / num_samples).astype(np.int64)


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
    try:
        network, info = make.from_pretrained(
            str(folder),
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **bare,
        )
    except Exception as error:  # the errors of the library differ between versions
        raise InputError(f"{folder}: the weights can't be read ({error}); they must be safetensors") from error
    missing = sorted(name for name in info["missing_keys"] if not name.endswith(UNUSED_WEIGHTS))
    if missing:
        raise InputError(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
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
    except Exception as error:  # as above
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
