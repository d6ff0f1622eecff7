"""The video models of Hugging Face's transformers as backbones. Nothing here touches the internet."""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unreel.errors import InputError, unknown_name_error
from unreel.io.text import parse_json
from unreel.models.backbones.external import ExternalBackbone


@dataclass(frozen=True)
class TransformerKind:
    """The differences between the video models of transformers."""

    size_field: str  # names of the size of a clip in the configuration
    frames_field: str
    num_prefix_tokens: int  # CLS
    has_learned_positions: bool  # then weights fit only one clip size


TRANSFORMER_KINDS = {
    "videomae": TransformerKind("image_size", "num_frames", 0, False),
    "vjepa2": TransformerKind("crop_size", "frames_per_clip", 0, False),
    "timesformer": TransformerKind("image_size", "num_frames", 1, True),
    "vivit": TransformerKind("image_size", "num_frames", 1, True),
}


class VideoTransformer(ExternalBackbone):
    """An encoder of transformers, without pooler or predictor. Clips must have the size that it was built for."""

    def __init__(self, network: nn.Module, name: str, size: int, num_frames: int, config: dict[str, Any]) -> None:
        network.num_features = config["hidden_size"]
        super().__init__(network, name, size, num_frames)
        self.num_prefix_tokens = TRANSFORMER_KINDS[config["model_type"]].num_prefix_tokens
        self.rebuild_options["config"] = config

    def call_network(self, clips: Tensor) -> Any:
        size, num_frames = self.rebuild_options["size"], self.rebuild_options["num_frames"]
        if tuple(clips.shape[2:]) != (num_frames, size, size):
            raise InputError(
                f"backbone '{self.name}' was built for clips of {num_frames} frames of {size}x{size}, not for "
                f"{' x '.join(map(str, clips.shape[2:]))}"
            )
        return self.network(clips.transpose(1, 2))


def build_transformer(
    name: str, size: int = 112, num_frames: int = 16, config: dict[str, Any] | None = None
) -> nn.Module:
    """An untrained video model of transformers by its type, or one with the weights of a local folder.

    `config` changes the defaults of a type, e.g. {"num_hidden_layers": 4}. A checkpoint keeps the whole configuration,
    and its own weights replace those of the folder, which is then not read. Raises InputError.
    """
    if name in TRANSFORMER_KINDS:
        full = build_config(name, config or {})
    elif config is not None:
        full = build_config(str(config.get("model_type")), config)
    else:
        full = read_config(Path(name))
    from_folder = name not in TRANSFORMER_KINDS and config is None
    set_clip_size(full, size, num_frames, has_weights=from_folder)
    network = load_pretrained(full, Path(name)) if from_folder else build_untrained(full)
    encoder = network.encoder if full.model_type == "vjepa2" else network  # the rest predicts masked tokens
    return VideoTransformer(encoder, f"transformers:{name}", size, num_frames, config_to_json(full))


def import_transformers() -> Any:
    """The library, imported only when needed, since that takes seconds."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise InputError(
            f"backbones 'transformers:...' need the package transformers ({error}): pip install 'unreel[transformers]'"
        ) from error


def build_config(kind: str, overrides: dict[str, Any]) -> Any:
    """The default configuration of a type with `overrides`, limited to fields that describe the network: those of the
    library itself could name code or kernels to download."""
    if kind not in TRANSFORMER_KINDS:
        raise unknown_name_error("model of transformers", kind, TRANSFORMER_KINDS)
    transformers = import_transformers()
    known = select_network_fields(transformers, transformers.AutoConfig.for_model(kind))
    unknown = sorted(set(overrides) - set(known) - {"model_type"})
    if unknown:
        raise InputError(f"transformers:{kind} has no '{unknown[0]}' in its configuration. Known: {', '.join(known)}")
    try:
        return transformers.AutoConfig.for_model(kind, **{k: v for k, v in overrides.items() if k != "model_type"})
    except Exception as error:  # the error types of the library differ between versions
        raise InputError(f"transformers:{kind} does not take the configuration {overrides}: {error}") from error


def select_network_fields(transformers: Any, config: Any) -> dict[str, Any]:
    """The fields of a configuration that describe this network, without those of every model of the library."""
    shared = transformers.PretrainedConfig().to_dict()
    return {k: v for k, v in config.to_dict().items() if k not in shared and k != "model_type"}


def config_to_json(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON, from which `build_config` builds it again."""
    fields = select_network_fields(import_transformers(), config) | {"model_type": config.model_type}
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain


def read_config(folder: Path) -> Any:
    """The configuration in a local folder, as transformers saves it."""
    if not (folder / "config.json").is_file():
        raise InputError(
            f"'{folder}' is neither a model of transformers that unreel knows ({', '.join(TRANSFORMER_KINDS)}) nor a "
            "local folder with config.json; unreel downloads no weights"
        )
    try:
        kind = parse_json((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / 'config.json'} can't be read ({error})") from error
    if kind not in TRANSFORMER_KINDS:
        raise unknown_name_error("model of transformers", str(kind), TRANSFORMER_KINDS)
    transformers = import_transformers()
    config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    return build_config(kind, select_network_fields(transformers, config))


def set_clip_size(config: Any, size: int, num_frames: int, has_weights: bool) -> None:
    """Set the clip size in a configuration. Raises InputError when the network can't take such clips."""
    kind = TRANSFORMER_KINDS[config.model_type]
    trained = (getattr(config, kind.frames_field), to_scalar(getattr(config, kind.size_field)))
    if has_weights and kind.has_learned_positions and trained != (num_frames, size):
        raise InputError(
            f"this {config.model_type}'s weights are for clips of {trained[0]} frames of {trained[1]}x{trained[1]}, "
            f"not {num_frames} of {size}x{size}; train with that size and number of frames"
        )
    frames_step = to_scalar(getattr(config, "tubelet_size", 1))
    size_step = to_scalar(config.patch_size if hasattr(config, "patch_size") else config.tubelet_size[1:])
    if size < size_step or size % size_step or num_frames < frames_step or num_frames % frames_step:
        raise InputError(
            f"{config.model_type} cuts clips into pieces of {frames_step} frames of {size_step}x{size_step}: "
            f"{num_frames} frames of {size}x{size} do not divide into these"
        )
    setattr(config, kind.size_field, size)
    setattr(config, kind.frames_field, num_frames)


def to_scalar(value: Any) -> int:
    """A number, or the first of one number per axis."""
    return int(value[0] if isinstance(value, list | tuple) else value)


def make_pooler_options(config: Any) -> dict[str, Any]:
    """Leave out the pooler of ViViT, the only one: its weights would never get a gradient."""
    return {"add_pooling_layer": False} if config.model_type == "vivit" else {}


def build_untrained(config: Any) -> Any:
    """An untrained network, initialised by transformers."""
    return import_transformers().AutoModel.from_config(config, trust_remote_code=False, **make_pooler_options(config))


def load_pretrained(config: Any, folder: Path) -> Any:
    """A video network with the weights of a local folder; no weight may be missing. Raises InputError."""
    make, options = import_transformers().AutoModel, make_pooler_options(config)
    return read_network(make, config, folder, lambda name: name.startswith("predictor."), **options)


def read_network(make: Any, config: Any, folder: Path, is_unused: Callable[[str], bool], **options: Any) -> Any:
    """A network of a class of transformers with the weights of a local folder, in float32.

    No weight may be missing but those that no feature depends on. Raises InputError.
    """
    try:
        network, info = make.from_pretrained(
            str(folder),
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # the errors of the library differ between versions
        raise InputError(f"{folder}: the weights can't be read ({error}); they must be safetensors") from error
    missing = sorted(name for name in info["missing_keys"] if not is_unused(name))
    if missing:
        raise InputError(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
    return network
