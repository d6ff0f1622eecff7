"""From two dimensions to three and back: an image network's weights for a video network, and 2D twins.

Inflation repeats a 2D kernel along time and divides it by its length, so that on a clip of one repeated frame every
convolution answers as it did to the frame (but at the clip's ends, where zeros are padded).
Source: Carreira, Zisserman 2017 (I3D).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.models import build_backbone

COUNTER, CLASSIFIER = "num_batches_tracked", "fc."


def two_dimensional(network: nn.Module) -> nn.Module:
    """Turn a network, in place, into its 2D twin: no kernel, pool or stride spans frames, so T stays T.

    Kernels are summed along time, which is what they do to a clip of one repeated frame; a new network's variance
    comes out right as well.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.Conv3d):
            setattr(network, name, flat_conv(child))
        elif isinstance(child, nn.MaxPool3d | nn.AvgPool3d):
            flatten_pool(child)
        else:
            two_dimensional(child)
    return network


def flat_conv(conv: nn.Conv3d) -> nn.Conv3d:
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


def flatten_pool(pool: nn.MaxPool3d | nn.AvgPool3d) -> None:
    """Let a pool see one frame at a time."""
    kernel, stride, padding = triple(pool.kernel_size), triple(pool.stride), triple(pool.padding)
    pool.kernel_size, pool.stride, pool.padding = (1, *kernel[1:]), (1, *stride[1:]), (0, *padding[1:])


def triple(value: Any) -> tuple[int, int, int]:
    """One number for three axes, or three."""
    return (value, value, value) if isinstance(value, int) else tuple(value)


def inflate(weights_2d: dict[str, Tensor], network: nn.Module) -> None:
    """Load 2D weights, (O, I, h, w) or (O, I, 1, h, w), into a network of 3D convolutions.

    Where the names are not the network's own, tensors are taken in their order: torchvision's resnet50 fits r3d50.
    Batch norm's counters and a classifier `fc` are left out. Raises InputError unless everything fits.
    """
    source = {n: t for n, t in weights_2d.items() if not n.startswith(CLASSIFIER) and not n.endswith(COUNTER)}
    state = network.state_dict()
    wanted = {n: t for n, t in state.items() if not n.endswith(COUNTER)}
    if len(source) != len(wanted):
        raise InputError(
            f"the 2D weights are {len(source)} tensors, the network has {len(wanted)}: not the same network"
        )
    names = wanted.keys() if source.keys() == wanted.keys() else source.keys()
    new = {
        target: inflated_tensor(source[name], wanted[target], name, target)
        for name, target in zip(names, wanted, strict=True)
    }
    network.load_state_dict(state | new)


def inflated_tensor(weight: Tensor, like: Tensor, name: str, target: str) -> Tensor:
    """One tensor, repeated along time and divided by the kernel's length where `like` is a 3D kernel."""
    flat = weight.unsqueeze(2) if weight.ndim == 4 and like.ndim == 5 else weight
    if like.ndim == 5 and flat.ndim == 5 and flat.shape[2] == 1:
        length = like.shape[2]
        flat = flat.expand(-1, -1, length, -1, -1) / length
    elif like.ndim == 5 and flat.ndim == 5:
        raise InputError(f"'{name}' {tuple(weight.shape)} spans frames already: only 2D weights can be inflated")
    if flat.shape != like.shape:
        raise InputError(
            f"the 2D weight '{name}' {tuple(weight.shape)} does not fit '{target}' {tuple(like.shape)}; "
            "use the weights of the same network in 2D"
        )
    return flat.to(like)


def read_2d(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pt/.pth file, or of a run or checkpoint of unreel.

    Taken out of {"state_dict": ...} or {"model": ...}, without a prefix that all names share, without a classifier
    `fc`. A file of torch is read with weights_only, so it can't run code. Raises InputError.
    """
    path = Path(path)
    if path.is_dir():
        from unreel.models.encoder import WEIGHTS, checkpoint_folder  # it is heavy, and twins do not need it

        return read_file(checkpoint_folder(path) / WEIGHTS)
    held = read_file(path)
    for key in ("state_dict", "model"):
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
    tensors = {n: t for n, t in held.items() if isinstance(t, Tensor)} if isinstance(held, dict) else {}
    if not tensors:
        raise InputError(f"{path}: no tensors by name there; save the network's state_dict()")
    tensors = without_prefix(tensors)
    return without_prefix({n: t for n, t in tensors.items() if not n.startswith(CLASSIFIER)})


def read_file(path: Path) -> Any:
    """Whatever a weights file holds. Raises InputError."""
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{path}: a file of weights ends in .safetensors, .pt or .pth")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, torch and zip each raise their own kinds
        raise InputError(f"{path}: the weights can't be read ({' '.join(str(error).split())[:200]})") from error


def without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without the wrappers, such as "module.backbone.", that all of them share."""
    while tensors and (prefix := shared_prefix(tensors)):
        tensors = {n.removeprefix(prefix): t for n, t in tensors.items()}
    return tensors


def shared_prefix(names: Iterable[str]) -> str:
    """The first part of every name with its dot, or "" when they differ or one has no other part."""
    parts = {n.partition(".")[::2] for n in names}
    firsts = {head for head, _ in parts}
    return f"{firsts.pop()}." if len(firsts) == 1 and all(rest for _, rest in parts) else ""


def inflated(path: str | Path, backbone: str, **options: Any) -> nn.Module:
    """A new backbone with the 2D weights of a file, or of a run of its twin, inflated. Raises InputError."""
    network = build_backbone(backbone, **options)
    inflate(read_2d(path), network)
    return network
