"""A backbone's weights from a safetensors file: all of them, or an error."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from unreel.errors import CheckpointError
from unreel.io.text import format_count


def check_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError unless `state` has every weight and buffer of the network in its shape, and nothing else.

    With weights skipped in silence, a network trained from scratch would be reported as fine-tuned.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [
        f"{n} is {tuple(state[n].shape)}, not {s}" for n, s in shapes.items() if n in state and state[n].shape != s
    ]
    problems = {
        "missing": [name for name in shapes if name not in state],
        "unexpected": [name for name in state if name not in shapes],
        "of another shape": wrong,
    }
    summary = [f"{len(names)} {problem} ({', '.join(names[:3])})" for problem, names in problems.items() if names]
    if summary:
        raise CheckpointError(f"the weights do not fit the network: {'; '.join(summary)}")


def load_weights(network: nn.Module, path: str | Path) -> list[str]:
    """Fill a backbone from a safetensors file, all of it or a CheckpointError; returns notes on what was changed.

    A wrapper's prefix ("module.", "backbone.") is removed where all weights stand under exactly one; a note names it,
    and the tensors that are ignored because they lack it.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: weights are read from .safetensors files only, since other formats can run code"
        )
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: the weights can't be read ({error})") from error
    notes, prefixes = [], find_prefixes(network, state)
    if len(prefixes) == 1 and prefixes[0]:
        prefix = prefixes[0]
        ignored = [name for name in state if not name.startswith(prefix)]
        others = (
            f"; ignored: {format_count(len(ignored), 'other tensor')} ({', '.join(ignored[:3])})" if ignored else ""
        )
        notes = [f"{path}: the prefix '{prefix}' was removed from the names of the weights{others}."]
        state = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    try:
        check_weights(network, state)
    except CheckpointError as error:
        several = f". Several networks are in the file: {', '.join(prefixes)}" if len(prefixes) > 1 else ""
        raise CheckpointError(f"{path}: {error}{several}") from error
    network.load_state_dict(state)
    return notes


def find_prefixes(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Prefixes under which `state` has every name of the network; "" for the plain names."""
    names = list(network.state_dict())
    first = names[0] if names else "\0"
    candidates = [name.removesuffix(first) for name in state if name == first or name.endswith(f".{first}")]
    return [prefix for prefix in candidates if all(prefix + name in state for name in names)]
