"""Backbones from elsewhere: your own modules, and the video models of Hugging Face's transformers.

Each is wrapped in `Foreign`, which brings whatever the module returns into the shape of a last feature map, so that
nothing else has to know. Nothing here touches the network.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unreel.errors import InputError, unknown_name_error


class ExternalBackbone(nn.Module):
    """A module that maps clips (B, 3, T, H, W) to vectors (B, D), tokens (B, N, D) or a map (B, D, T', H', W').

    Tokens in front that stand for no place (CLS) are dropped: as many as the module's `num_prefix_tokens` says.
    `num_features` is the module's own, else found by running it once on one black clip.
    """

    rebuild_options: dict[str, Any]  # with these the network can be built again wherever a checkpoint has been taken

    def __init__(self, network: nn.Module, name: str, size: int, num_frames: int) -> None:
        super().__init__()
        self.network, self.name = network, name
        self.rebuild_options = {"size": size, "num_frames": num_frames}
        self.num_prefix_tokens = int(getattr(network, "num_prefix_tokens", 0))
        known = getattr(network, "num_features", None)
        self.num_features: int = known if isinstance(known, int) else self.count_features()

    def count_features(self) -> int:
        """D of one black clip; the module's mode and statistics stay as they were."""
        like = next(self.network.parameters(), torch.zeros(()))
        size, num_frames = self.rebuild_options["size"], self.rebuild_options["num_frames"]
        black = torch.zeros(1, 3, num_frames, size, size, device=like.device, dtype=like.dtype)
        training = {module: module.training for module in self.network.modules()}
        try:
            with torch.no_grad():
                self.network.eval()
                return to_feature_map(self.call_network(black), self.num_prefix_tokens, self.name).shape[1]
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise InputError(
                f"backbone '{self.name}' fails on a clip (1, 3, {num_frames}, {size}, {size}): {error}. It must take "
                "(B, 3, T, H, W)"
            ) from error
        finally:
            for module, mode in training.items():
                module.training = mode

    def call_network(self, clips: Tensor) -> Any:
        """What the module itself returns."""
        return self.network(clips)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) to a map (B, num_features, T', H', W'); tokens become (B, num_features, N, 1, 1)."""
        map_BDTHW = to_feature_map(self.call_network(clips), self.num_prefix_tokens, self.name)
        if map_BDTHW.shape[1] != self.num_features:
            raise InputError(
                f"backbone '{self.name}' says num_features = {self.num_features} but returns {map_BDTHW.shape[1]}; "
                "correct that attribute"
            )
        return map_BDTHW


def to_feature_map(output: Any, num_prefix_tokens: int, name: str) -> Tensor:
    """Vectors, tokens, a map, or a transformers output, as a map (B, D, T', H', W')."""
    values = getattr(output, "last_hidden_state", output)
    if isinstance(values, Tensor):
        if values.ndim == 2:
            return values[:, :, None, None, None]
        if values.ndim == 3:
            return values[:, num_prefix_tokens:].transpose(1, 2)[..., None, None]
        if values.ndim == 5:
            return values
    what = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    raise InputError(f"backbone '{name}' returns {what}; it must return (B, D), (B, N, D) or (B, D, T, H, W)")


def build_external(name: str, size: int = 112, num_frames: int = 16) -> nn.Module:
    """The module that "package.module.Class" or "package.module:function" makes when called without arguments.

    Imports, and so runs, that code. Raises InputError.
    """
    folder, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    try:
        make = getattr(importlib.import_module(folder), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"backbone '{name}' can't be imported ({error}); name it package.module.Class, with its folder on "
            "PYTHONPATH"
        ) from error
    network = make() if callable(make) and not isinstance(make, nn.Module) else None
    if not isinstance(network, nn.Module):
        raise InputError(f"backbone '{name}' is not a class or function that makes a torch.nn.Module")
    return ExternalBackbone(network, name, size, num_frames)


@dataclass(frozen=True)
class TransformerKind:
    """What differs between the video models of transformers."""

    size_field: str  # the configuration's names for the size of a clip
    frames_field: str
    num_prefix_tokens: int  # CLS
    has_learned_positions: bool  # then weights fit one size of clip only


TRANSFORMER_KINDS = {
    "videomae": TransformerKind("image_size", "num_frames", 0, False),
    "vjepa2": TransformerKind("crop_size", "frames_per_clip", 0, False),
    "timesformer": TransformerKind("image_size", "num_frames", 1, True),
    "vivit": TransformerKind("image_size", "num_frames", 1, True),
}


class VideoTransformer(ExternalBackbone):
    """An encoder of transformers, without pooler or predictor. Its clips have exactly the size it was built for."""

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

    `config` changes a type's defaults, e.g. {"num_hidden_layers": 4}. A checkpoint keeps the whole of it; then the
    folder is not read, as the checkpoint has the weights. Raises InputError.
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
    encoder = network.encoder if full.model_type == "vjepa2" else network  # the rest of it predicts masked tokens
    return VideoTransformer(encoder, f"transformers:{name}", size, num_frames, config_to_json(full))


def import_transformers() -> Any:
    """The library, imported only when asked for: it takes seconds."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise InputError(
            f"backbones 'transformers:...' need the package transformers ({error}): pip install 'unreel[transformers]'"
        ) from error


def build_config(kind: str, overrides: dict[str, Any]) -> Any:
    """A type's default configuration with `changes`. Only the fields that describe the network are taken: those of
    the library itself could name code or kernels to fetch."""
    if kind not in TRANSFORMER_KINDS:
        raise unknown_name_error("model of transformers", kind, TRANSFORMER_KINDS)
    transformers = import_transformers()
    known = select_network_fields(transformers, transformers.AutoConfig.for_model(kind))
    strange = sorted(set(overrides) - set(known) - {"model_type"})
    if strange:
        raise InputError(f"transformers:{kind} has no '{strange[0]}' in its configuration. Known: {', '.join(known)}")
    try:
        return transformers.AutoConfig.for_model(kind, **{k: v for k, v in overrides.items() if k != "model_type"})
    except Exception as error:  # the library has its own kinds of errors, which differ between versions
        raise InputError(f"transformers:{kind} does not take the configuration {overrides}: {error}") from error


def select_network_fields(transformers: Any, config: Any) -> dict[str, Any]:
    """The fields of a configuration that describe this network, not any model of the library."""
    common = transformers.PretrainedConfig().to_dict()
    return {k: v for k, v in config.to_dict().items() if k not in common and k != "model_type"}


def config_to_json(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON, enough for `config_of_type`."""
    fields = select_network_fields(import_transformers(), config) | {"model_type": config.model_type}
    plain: dict[str, Any] = json.loads(json.dumps(fields))
    return plain


def read_config(folder: Path) -> Any:
    """The configuration in a local folder as transformers saves it."""
    if not (folder / "config.json").is_file():
        raise InputError(
            f"'{folder}' is neither a model of transformers that unreel knows ({', '.join(TRANSFORMER_KINDS)}) nor a local folder "
            "with config.json; unreel downloads no weights"
        )
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / 'config.json'} can't be read ({error})") from error
    if kind not in TRANSFORMER_KINDS:
        raise unknown_name_error("model of transformers", str(kind), TRANSFORMER_KINDS)
    transformers = import_transformers()
    read = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    return build_config(kind, select_network_fields(transformers, read))


def set_clip_size(config: Any, size: int, num_frames: int, has_weights: bool) -> None:
    """Set the size of clip in a configuration. Raises InputError when the network can't take such clips."""
    kind = TRANSFORMER_KINDS[config.model_type]
    was = (getattr(config, kind.frames_field), to_scalar(getattr(config, kind.size_field)))
    if has_weights and kind.has_learned_positions and was != (num_frames, size):
        raise InputError(
            f"this {config.model_type}'s weights are for clips of {was[0]} frames of {was[1]}x{was[1]}, not "
            f"{num_frames} of {size}x{size}; train with that size and number of frames"
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
    """A number that may also be given for each axis."""
    return int(value[0] if isinstance(value, list | tuple) else value)


def make_pooler_options(config: Any) -> dict[str, Any]:
    """Only ViViT has a pooler to leave out; its weights would never get a gradient."""
    return {"add_pooling_layer": False} if config.model_type == "vivit" else {}


def build_untrained(config: Any) -> Any:
    """An untrained network, initialised by transformers."""
    return import_transformers().AutoModel.from_config(config, trust_remote_code=False, **make_pooler_options(config))


def load_pretrained(config: Any, folder: Path) -> Any:
    """A network with the weights in a local folder, all of them in float32 and none left to chance."""
    try:
        network, info = import_transformers().AutoModel.from_pretrained(
            str(folder),
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **make_pooler_options(config),
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder}: the weights can't be read ({error}); they must be safetensors") from error
    missing = sorted(n for n in info["missing_keys"] if not n.startswith("predictor."))
    if missing:
        raise InputError(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
    return network
