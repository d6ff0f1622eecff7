"""Which tensor of a weights file belongs to which weight of a network."""

import re
from collections.abc import Callable, Iterable

from torch import Tensor

from unreel.errors import InputError

# Prefixes of the trained network in files of self-supervised image networks, beside a momentum copy, queue or head:
# MoCo; MoCo v3; BYOL; DINO; SimSiam; many. The first one that occurs is used.
ONLINE_PREFIXES = ("encoder_q.", "base_encoder.", "online_encoder.", "student.", "encoder.", "backbone.")
# Modules after the last feature map; linear layers of any other name are recognised by their shape.
HEAD_MODULES = {"fc", "head", "heads", "classifier", "projector", "projection_head", "predictor", "prototypes"}


def select_trunk(tensors: dict[str, Tensor], target_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the trained network, without wrappers' prefixes, momentum copies and heads."""
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
    """Names of tensors of heads that the network lacks: whole outermost modules; an `fc` inside a block is no head."""
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
    """Whether all tensors are weights and biases of linear layers."""
    kinds = {(leaf_name(n), t.ndim) for n, t in tensors.items()}
    return ("weight", 2) in kinds and kinds <= {("weight", 2), ("bias", 1)}


def match_names(source: dict[str, Tensor], target_state: dict[str, Tensor]) -> dict[str, str]:
    """Name in the network to name in the file: matched by name, else by order. Raises InputError."""
    prefix = find_common_prefix(target_state)
    renamings: tuple[Callable[[str], str], ...] = (str, lambda name: prefix + name, translate_torchvision_name)
    readings = [{rename(name): name for name in source} for rename in renamings]
    for reading in readings:
        if reading.keys() == target_state.keys() and len(source) == len(target_state):
            return {target: reading[target] for target in target_state}
    if len(source) == len(target_state):
        by_order = dict(zip(target_state, source, strict=True))
        if all(leaf_name(target) == leaf_name(name) for target, name in by_order.items()):
            return by_order
    best = max(readings, key=lambda reading: len(reading.keys() & target_state.keys()))
    raise InputError(f"the 2D weights are not the same network: {explain_mismatch(best, source, target_state)}")


def explain_mismatch(reading: dict[str, str], source: dict[str, Tensor], target_state: dict[str, Tensor]) -> str:
    """Why the tensors of a file, renamed as in `reading`, do not fit the network."""
    missing = [target for target in target_state if target not in reading]
    extra = [name for target, name in reading.items() if target not in target_state]
    if len(source) == len(target_state):
        by_order = zip(target_state, source, strict=True)
        target, name = next((t, n) for t, n in by_order if leaf_name(t) != leaf_name(n))
        return f"'{name}' stands where the network has '{target}', and neither names nor order agree"
    if len(missing) < len(target_state):  # a relative, such as resnet101 for r3d50
        lacks = [f"lack {summarize_names(missing)}"] if missing else []
        return f"they {' and '.join(lacks + ([f'have {summarize_names(extra)} too many'] if extra else []))}"
    return (
        f"they are {len(source)} tensors ({summarize_names(source)}), the network has {len(target_state)} "
        f"({summarize_names(target_state)})"
    )


def translate_torchvision_name(name: str) -> str:
    """Our name of a tensor of torchvision's or timm's ResNet; other names stay.

    "layer1.0.downsample.0.weight" becomes "stages.0.0.shortcut.0.weight".
    """
    if stem := re.fullmatch(r"(conv|bn)1\.(\w+)", name):
        return f"stem.{0 if stem[1] == 'conv' else 1}.{stem[2]}"
    if block := re.fullmatch(r"layer([1-4])\.(\d+)\.(.+)", name):
        rest = re.sub(r"^downsample\.", "shortcut.", block[3])
        return f"stages.{int(block[1]) - 1}.{block[2]}.{rest}"
    return name


def leaf_name(name: str) -> str:
    """The last part: "weight" of "layer1.0.conv1.weight"."""
    return name.rpartition(".")[2]


def summarize_names(names: Iterable[str]) -> str:
    """The first name, and the number of others."""
    first, *more = [*names] or ["none"]
    return f"'{first}'" + (f" and {len(more)} more" if more else "")


def find_common_prefix(names: Iterable[str]) -> str:
    """The longest common prefix of all names that ends with a dot, such as "module.backbone.", or ""."""
    names = sorted(names)
    shared = ""
    if names:  # the common prefix of the first and last in alphabetical order is that of all
        for first, last in zip(names[0].split(".")[:-1], names[-1].split(".")[:-1], strict=False):
            if first != last:
                break
            shared += f"{first}."
    return shared
