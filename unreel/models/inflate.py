"""The weights that training begins with: those of another run, or of a 2D image network, inflated.

A 2D kernel is repeated along time and divided by its length, so on a clip of one repeated frame every convolution gives
the same as the 2D one gives on the frame (except at the ends of the clip, where zeros are padded).
Source: Carreira, Zisserman 2017 (I3D).
"""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.models.encoder.base_encoders import BASE_ENCODERS, list_base_encoders
from unreel.models.encoder.checkpoint_files import WEIGHTS_FILE, find_checkpoint, load_network, read_encoder, read_spec
from unreel.models.encoder.encoder import Encoder
from unreel.models.registry import build_backbone
from unreel.models.weight_matching import match_names, select_trunk
from unreel.settings.network import AUTO_WEIGHTS, BASE_NAMES, INIT_WORDS, NO_WEIGHTS
from unreel.video.sources.paths import absolute_path

BATCH_COUNTER = "num_batches_tracked"


def inflate(weights_2d: dict[str, Tensor], network: nn.Module) -> None:
    """Load 2D weights, (O, I, h, w) or (O, I, 1, h, w), into a network of 3D convolutions.

    Names may be the network's own, or those of a ResNet of torchvision or timm (resnet50 fits r3d50, resnet18 r3d18),
    in any order; tensors of other names are matched in order if their last parts and shapes agree. Of a file of MoCo,
    BYOL, DINO and the like, the online encoder is used. Wrappers' prefixes, heads and counters of batch norm are
    dropped. Raises InputError unless everything fits.

    >>> network = nn.Sequential(nn.Conv3d(1, 1, (4, 1, 1), bias=False))
    >>> inflate({"0.weight": torch.ones(1, 1, 1, 1)}, network)
    >>> network[0].weight.flatten().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    state = network.state_dict()
    target_state = {n: t for n, t in state.items() if not n.endswith(BATCH_COUNTER)}
    source = select_trunk({n: t for n, t in weights_2d.items() if not n.endswith(BATCH_COUNTER)}, target_state)
    new = {
        target: inflate_tensor(source[name], target_state[target], name, target)
        for target, name in match_names(source, target_state).items()
    }
    network.load_state_dict(state | new)


def choose_initial_weights(init: str, backbone: str, options: dict[str, Any]) -> str:
    """The setting `init` for a network; "auto" becomes the name of the base encoder that fits, a path absolute.

    >>> [choose_initial_weights("auto", name, {}) for name in ("tiny", "small", "r3d")]
    ['base', 'base-16', 'none']
    """
    if init == AUTO_WEIGHTS:
        specs = {name: read_spec(BASE_ENCODERS / name) for name in list_base_encoders()}
        fitting = (name for name, spec in specs.items() if (spec.backbone, spec.options) == (backbone, options))
        return next(fitting, NO_WEIGHTS)
    return init if init in INIT_WORDS else absolute_path(init)


def load_initial_weights(encoder: Encoder, init: str) -> None:
    """Begin with the weights of another run of the same network, whatever its method and views; else inflate 2D ones.

    Raises InputError and CheckpointError for weights that do not fit.
    """
    init = choose_initial_weights(init, encoder.spec.backbone, encoder.spec.options)
    if init == NO_WEIGHTS:
        return
    path = BASE_ENCODERS / init if init in BASE_NAMES else Path(init)
    if path.is_dir() and read_spec(find_checkpoint(path)).backbone == encoder.spec.backbone:
        weights = read_encoder(path, Encoder, allow_import=True).backbone.state_dict()
        load_network(encoder, weights, find_checkpoint(path))
    else:
        inflate(read_2d_weights(path), encoder.backbone)


def inflate_tensor(weight: Tensor, target_tensor: Tensor, name: str, target_name: str) -> Tensor:
    """One tensor in the shape of its target; a 2D kernel is repeated along time and divided by the kernel's length.

    (O, I, h, w) or (O, I, 1, h, w) to (O, I, t, h, w). Raises InputError for one that does not fit.
    """
    flat = weight.unsqueeze(2) if weight.ndim == 4 and target_tensor.ndim == 5 else weight
    flat = flat.to(target_tensor)  # before the division, so that half precision loses nothing
    if target_tensor.ndim == 5 and flat.ndim == 5 and flat.shape[2] == 1:
        length = target_tensor.shape[2]
        flat = flat.expand(-1, -1, length, -1, -1) / length
    elif target_tensor.ndim == 5 and flat.ndim == 5:
        raise InputError(f"'{name}' {tuple(weight.shape)} spans frames already: only 2D weights can be inflated")
    if flat.shape != target_tensor.shape:
        raise InputError(
            f"the 2D weight '{name}' {tuple(weight.shape)} does not fit '{target_name}' {tuple(target_tensor.shape)}; "
            "use the weights of the same network in 2D"
        )
    return flat


def read_2d_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pt/.pth file, or of a run or checkpoint of unreel.

    Tensors inside {"state_dict": ...}, {"model": ...} or, in files of DINO, {"student": ...} are found; names stay. A
    file of torch is read with weights_only, so it can't run code. Raises InputError.
    """
    path = Path(path)
    if path.is_dir():
        return read_weights_file(find_checkpoint(path) / WEIGHTS_FILE)
    content = read_weights_file(path)
    for key in ("state_dict", "model", "student"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {n: t for n, t in content.items() if isinstance(t, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise InputError(f"{path}: no named tensors there; save the network's state_dict()")
    return tensors


def read_weights_file(path: Path) -> Any:
    """The content of a weights file. Raises InputError."""
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{path}: a file of weights ends in .safetensors, .pt or .pth")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, torch and zip each raise their own kinds
        raise InputError(f"{path}: the weights can't be read ({' '.join(str(error).split())[:200]})") from error


def build_inflated(path: str | Path, backbone: str, **options: Any) -> nn.Module:
    """A new backbone with the inflated 2D weights of a file, or of a run of its 2D twin. Raises InputError."""
    network = build_backbone(backbone, **options)
    inflate(read_2d_weights(path), network)
    return network
