"""From two dimensions to three and back: an image network's weights for a video network, and 2D twins.

Inflation repeats a 2D kernel along time and divides it by its length, so that on a clip of one repeated frame every
convolution answers as it did to the frame (but at the clip's ends, where zeros are padded).
Source: Carreira, Zisserman 2017 (I3D).
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.models.registry import build_backbone

BATCH_COUNTER = "num_batches_tracked"
# What self-supervised image networks' files call the network that was trained, beside a momentum copy, queue or head:
# MoCo; MoCo v3; BYOL; DINO; SimSiam; many. The first that is there is taken.
ONLINE_PREFIXES = ("encoder_q.", "base_encoder.", "online_encoder.", "student.", "encoder.", "backbone.")
# Modules behind the last feature map; linear layers by any other name are known by their shape.
HEAD_MODULES = {"fc", "head", "heads", "classifier", "projector", "projection_head", "predictor", "prototypes"}


def make_2d_twin(network: nn.Module) -> nn.Module:
    """Turn a network, in place, into its 2D twin: no kernel, pool or stride spans frames, so T stays T.

    Kernels are summed along time, which is what they do to a clip of one repeated frame; a new network's variance
    comes out right as well.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.Conv3d):
            setattr(network, name, make_2d_conv(child))
        elif isinstance(child, nn.MaxPool3d | nn.AvgPool3d):
            set_2d_pool(child)
        else:
            make_2d_twin(child)
    return network


def make_2d_conv(conv: nn.Conv3d) -> nn.Conv3d:
    """A convolution of one frame: kernel (1, kh, kw), summed along time."""
    padding = conv.padding
    if isinstance(padding, str):
        raise InputError(f"a convolution padded with '{padding}' has no 2D twin; give it its padding in numbers")
    flat = nn.utils.skip_init(
        nn.Conv3d,
        conv.in_channels,
        conv.out_channels,
        (1, *conv.kernel_size[1:]),
        (1, *conv.stride[1:]),
        (0, *padding[1:]),
        (1, *conv.dilation[1:]),
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():
        flat.weight.copy_(conv.weight.sum(dim=2, keepdim=True))
        if conv.bias is not None:
            flat.bias.copy_(conv.bias)
    return flat


def set_2d_pool(pool: nn.MaxPool3d | nn.AvgPool3d) -> None:
    """Let a pool see one frame at a time."""
    kernel, stride, padding = to_triple(pool.kernel_size), to_triple(pool.stride), to_triple(pool.padding)
    pool.kernel_size, pool.stride, pool.padding = (1, *kernel[1:]), (1, *stride[1:]), (0, *padding[1:])


def to_triple(value: Any) -> tuple[int, int, int]:
    """One number for three axes, or three."""
    return (value, value, value) if isinstance(value, int) else tuple(value)


def inflate(weights_2d: dict[str, Tensor], network: nn.Module) -> None:
    """Load 2D weights, (O, I, h, w) or (O, I, 1, h, w), into a network of 3D convolutions.

    Names may be the network's own, or torchvision's and timm's of a ResNet (resnet50 fits r3d50, resnet18 r3d18), in
    any order; tensors of other names are taken in their order where their last parts and shapes agree. Of a file of
    MoCo, BYOL, DINO and their like, the online encoder is taken. Wrappers' prefixes, heads and batch norm's counters
    are left out. Raises InputError unless everything fits.
    """
    state = network.state_dict()
    wanted = {n: t for n, t in state.items() if not n.endswith(BATCH_COUNTER)}
    source = select_trunk({n: t for n, t in weights_2d.items() if not n.endswith(BATCH_COUNTER)}, wanted)
    new = {
        target: inflate_tensor(source[name], wanted[target], name, target)
        for target, name in match_names(source, wanted).items()
    }
    network.load_state_dict(state | new)


def select_trunk(tensors: dict[str, Tensor], target_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the one network that is meant, without wrappers' prefixes, momentum copies and heads."""
    while tensors.keys() != target_state.keys():
        heads = find_heads(tensors, target_state)
        prefix = find_common_prefix(tensors)
        if not prefix and len(tensors) - len(heads) > len(target_state):
            prefix = next((p for p in ONLINE_PREFIXES if any(n.startswith(p) for n in tensors)), "")
        if heads:
            tensors = {n: t for n, t in tensors.items() if n not in heads}
        elif prefix:
            tensors = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        else:
            break
    return tensors


def find_heads(tensors: dict[str, Tensor], target_state: dict[str, Tensor]) -> set[str]:
    """Names of heads that the network lacks: whole outermost modules, as a block's own `fc` does work within it."""
    prefix = find_common_prefix(target_state)
    modules: dict[str, list[str]] = {}
    for name in tensors:
        modules.setdefault(name.partition(".")[0], []).append(name)
    convolutional = all(t.ndim != 2 for t in target_state.values())
    heads: set[str] = set()
    for module, names in modules.items():
        linear = convolutional and is_linear({n: tensors[n] for n in names})
        if (module in HEAD_MODULES or linear) and not any(
            n in target_state or prefix + n in target_state for n in names
        ):
            heads.update(names)
    return heads if len(heads) < len(tensors) else set()


def is_linear(tensors: dict[str, Tensor]) -> bool:
    """Whether these are the weights and biases of linear layers and nothing else."""
    kinds = {(leaf_name(n), t.ndim) for n, t in tensors.items()}
    return ("weight", 2) in kinds and kinds <= {("weight", 2), ("bias", 1)}


def match_names(source: dict[str, Tensor], target_state: dict[str, Tensor]) -> dict[str, str]:
    """For each of the network's names the file's: by name, else by place. Raises InputError."""
    prefix = find_common_prefix(target_state)
    renamings: tuple[Callable[[str], str], ...] = (str, lambda name: prefix + name, translate_torchvision_name)
    readings = [{rename(name): name for name in source} for rename in renamings]
    for reading in readings:
        if reading.keys() == target_state.keys() and len(source) == len(target_state):
            return {target: reading[target] for target in target_state}
    best = max(readings, key=lambda reading: len(reading.keys() & target_state.keys()))
    missing = [target for target in target_state if target not in best]
    extra = [name for target, name in best.items() if target not in target_state]
    if len(source) == len(target_state):
        by_place = dict(zip(target_state, source, strict=True))
        swapped = [(t, n) for t, n in by_place.items() if leaf_name(t) != leaf_name(n)]
        if not swapped:
            return by_place
        target, name = swapped[0]
        why = f"'{name}' stands where the network has '{target}', and neither names nor order agree"
    elif len(missing) < len(target_state):  # a relative, such as resnet101 for r3d50
        parts = [f"lack {summarize_names(missing)}"] * bool(missing) + [
            f"have {summarize_names(extra)} too many"
        ] * bool(extra)
        why = f"they {' and '.join(parts)}"
    else:
        why = f"they are {len(source)} tensors ({summarize_names(source)}), the network has {len(target_state)} ({summarize_names(target_state)})"
    raise InputError(f"the 2D weights are not the same network: {why}")


def translate_torchvision_name(name: str) -> str:
    """Our name of a tensor of torchvision's or timm's ResNet: "layer1.0.downsample.0.weight" is of stages.0.0.shortcut.

    Other names stay.
    """
    if stem := re.fullmatch(r"(conv|bn)1\.(\w+)", name):
        return f"stem.{0 if stem[1] == 'conv' else 1}.{stem[2]}"
    if block := re.fullmatch(r"layer([1-4])\.(\d+)\.(.+)", name):
        rest = re.sub(r"^downsample\.", "shortcut.", block[3])
        return f"stages.{int(block[1]) - 1}.{block[2]}.{rest}"
    return name


def leaf_name(name: str) -> str:
    """Of "layer1.0.conv1.weight" the "weight"."""
    return name.rpartition(".")[2]


def summarize_names(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    first, *more = [*names] or ["none"]
    return f"'{first}'" + (f" and {len(more)} more" if more else "")


def inflate_tensor(weight: Tensor, target_tensor: Tensor, name: str, target_name: str) -> Tensor:
    """One tensor, repeated along time and divided by the kernel's length where `like` is a 3D kernel."""
    flat = weight.unsqueeze(2) if weight.ndim == 4 and target_tensor.ndim == 5 else weight
    flat = flat.to(target_tensor)  # first, so that a file in half precision is divided in the network's
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

    Taken out of {"state_dict": ...}, {"model": ...} or, as DINO has it, {"student": ...}; names stay as they are. A
    file of torch is read with weights_only, so it can't run code. Raises InputError.
    """
    path = Path(path)
    if path.is_dir():
        from unreel.models.encoder.encoder import WEIGHTS_FILE, find_checkpoint  # it is heavy, and twins do not need it

        return read_weights_file(find_checkpoint(path) / WEIGHTS_FILE)
    held = read_weights_file(path)
    for key in ("state_dict", "model", "student"):
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
    tensors = {n: t for n, t in held.items() if isinstance(t, Tensor)} if isinstance(held, dict) else {}
    if not tensors:
        raise InputError(f"{path}: no tensors by name there; save the network's state_dict()")
    return tensors


def read_weights_file(path: Path) -> Any:
    """Whatever a weights file holds. Raises InputError."""
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{path}: a file of weights ends in .safetensors, .pt or .pth")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, torch and zip each raise their own kinds
        raise InputError(f"{path}: the weights can't be read ({' '.join(str(error).split())[:200]})") from error


def find_common_prefix(names: Iterable[str]) -> str:
    """What all names begin with up to a dot, such as "module.backbone.", or ""."""
    names = sorted(names)
    shared = ""
    if names:  # what the first and the last in alphabetical order share, all share
        for first, last in zip(names[0].split(".")[:-1], names[-1].split(".")[:-1], strict=False):
            if first != last:
                break
            shared += f"{first}."
    return shared


def build_inflated(path: str | Path, backbone: str, **options: Any) -> nn.Module:
    """A new backbone with the 2D weights of a file, or of a run of its twin, inflated. Raises InputError."""
    network = build_backbone(backbone, **options)
    inflate(read_2d_weights(path), network)
    return network
