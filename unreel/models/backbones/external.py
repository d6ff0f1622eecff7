"""Networks of your own as backbones.

`ExternalBackbone` turns whatever a module returns into a last feature map, so nothing else has to know about it.
"""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unreel.errors import InputError, OwnCodeError
from unreel.own_code.error_lines import explain_errors, find_line
from unreel.own_code.loading import OwnCode, get_member
from unreel.own_code.names import split_name
from unreel.own_code.source_files import SourceFiles

NO_SOURCES = SourceFiles()


class ExternalBackbone(nn.Module):
    """A module that maps clips (B, 3, T, H, W) to vectors (B, D), tokens (B, N, D) or a map (B, D, T', H', W').

    The first tokens that stand for no position (CLS) are dropped; the module gives their number as `num_prefix_tokens`.
    `num_features` is that of the module, else measured on one black clip.
    """

    rebuild_options: dict[str, Any]  # a checkpoint keeps them, to build the network again

    def __init__(
        self,
        network: nn.Module,
        name: str,
        size: int,
        num_frames: int,
        options: Mapping[str, Any] | None = None,
        sources: SourceFiles = NO_SOURCES,
    ) -> None:
        super().__init__()
        self.network, self.name, self.sources = network, name, sources
        self.rebuild_options = {"size": size, "num_frames": num_frames} | (
            {"options": dict(options)} if options else {}
        )
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
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NameError, KeyError) as error:
            line = find_line(error, self.sources)
            raise InputError(
                f"backbone '{self.name}' fails on a clip (1, 3, {num_frames}, {size}, {size}): {error}"
                f"{f' ({line})' if line else ''}. It must take (B, 3, T, H, W)"
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


def build_external(
    name: str, size: int = 112, num_frames: int = 16, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """The module that a class or function of one's own returns when called with `options`, e.g. "net.py:Small".

    Loads, and so runs, that code. Raises InputError, OwnCodeError where the code does not keep to the contract.
    """
    code, factory = get_member(name, "backbone")
    if isinstance(factory, nn.Module) or not callable(factory):
        raise not_a_network(name, code)
    options = dict(options or {})
    check_options(name, code, factory, options)
    with explain_errors(f"backbone '{name}' can't be built", code.sources):
        network = factory(**options)
    if not isinstance(network, nn.Module):
        raise not_a_network(name, code)
    return ExternalBackbone(network, name, size, num_frames, options, code.sources)


def not_a_network(name: str, code: OwnCode) -> OwnCodeError:
    """The error of a name that means no network."""
    line = code.find_line(split_name(name, "backbone")[1])
    return OwnCodeError(f"backbone '{name}' is not a class or function that returns a torch.nn.Module ({line})")


def check_options(name: str, code: OwnCode, factory: Any, options: Mapping[str, Any]) -> None:
    """Raise OwnCodeError where a network wants other arguments than it is given."""
    try:
        signature = inspect.signature(factory)
        signature.bind(**options)
    except ValueError:  # of a builtin, which has none
        return
    except TypeError as error:
        attribute = split_name(name, "backbone")[1]
        wanted = [n for n, p in signature.parameters.items() if p.default is p.empty and n not in options]
        example = json.dumps(dict(options) | dict.fromkeys(wanted, 1))
        advice = f"it takes ({', '.join(signature.parameters)}), given as --backbone-options '{example}'"
        raise OwnCodeError(f"{code.find_line(attribute, '__init__')}: backbone '{name}': {error}; {advice}") from error
