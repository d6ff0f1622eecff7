"""Networks of your own as backbones.

`ExternalBackbone` turns whatever a module returns into a last feature map, so nothing else has to know about it.
"""

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from unreel.errors import InputError


class ExternalBackbone(nn.Module):
    """A module that maps clips (B, 3, T, H, W) to vectors (B, D), tokens (B, N, D) or a map (B, D, T', H', W').

    The first tokens that stand for no position (CLS) are dropped; the module gives their number as `num_prefix_tokens`.
    `num_features` is that of the module, else measured on one black clip.
    """

    rebuild_options: dict[str, Any]  # a checkpoint keeps them, to build the network again

    def __init__(self, network: nn.Module, name: str, size: int, num_frames: int) -> None:
        super().__init__()
        self.network, self.name = network, name
        self.rebuild_options = {"size": size, "num_frames": num_frames}
        self.num_prefix_tokens = int(getattr(network, "num_prefix_tokens", 0))
        known = getattr(network, "num_features", None)
        self.num_features: int = known if isinstance(known, int) else self.count_features()

    def count_features(self) -> int:
        """D, measured on one black clip; mode and statistics of the module stay as they were."""
        weight = next(self.network.parameters(), torch.zeros(()))
        size, num_frames = self.rebuild_options["size"], self.rebuild_options["num_frames"]
        black = torch.zeros(1, 3, num_frames, size, size, device=weight.device, dtype=weight.dtype)
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
        """The output of the module itself."""
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
    """Vectors, tokens, a map or an output of transformers as a map (B, D, T', H', W')."""
    values = getattr(output, "last_hidden_state", output)
    if isinstance(values, Tensor):
        if values.ndim == 2:
            return values[:, :, None, None, None]
        if values.ndim == 3:
            return values[:, num_prefix_tokens:].transpose(1, 2)[..., None, None]
        if values.ndim == 5:
            return values
    kind = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    raise InputError(f"backbone '{name}' returns {kind}; it must return (B, D), (B, N, D) or (B, D, T, H, W)")


def build_external(name: str, size: int = 112, num_frames: int = 16) -> nn.Module:
    """The module that "package.module.Class" or "package.module:function" returns when called without arguments.

    Imports, and so runs, that code. Raises InputError.
    """
    module_name, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"backbone '{name}' can't be imported ({error}); name it package.module.Class, with its folder on "
            "PYTHONPATH"
        ) from error
    network = factory() if callable(factory) and not isinstance(factory, nn.Module) else None
    if not isinstance(network, nn.Module):
        raise InputError(f"backbone '{name}' is not a class or function that returns a torch.nn.Module")
    return ExternalBackbone(network, name, size, num_frames)
