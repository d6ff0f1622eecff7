"""Backbones, found by file name: a module of this folder that defines `build(**options) -> nn.Module` is one.

A backbone has `num_features` and maps clips (B, C, T, H, W) to its last feature map (B, num_features, T', H', W').

    "r3d"                         a file of this folder
    "r3d-2d"                      its twin that sees each frame alone (inflate.py)
    "package.module.Class"        your own torch.nn.Module, called without arguments; also "package.module:function"
    "transformers:videomae"       a video model of Hugging Face, untrained; or "transformers:FOLDER" with its weights
"""

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from unreel.errors import InputError, unknown

TWIN, TRANSFORMERS = "-2d", "transformers:"


def backbone_names() -> tuple[str, ...]:
    """The backbones of this folder; reads the files and imports none, so it stays cheap and can't fail."""
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(f.stem for f in files if "\ndef build(" in f.read_text(encoding="utf-8")))


BACKBONES = backbone_names()


def is_dotted(name: str) -> bool:
    """Whether a name is code from outside unreel, which building it would import and run."""
    return not name.startswith(TRANSFORMERS) and ("." in name or ":" in name)


def own_network(name: str) -> bool:
    """Whether a network is one of ours, which take clips of any length that their strides leave something of."""
    return not name.startswith(TRANSFORMERS) and not is_dotted(name)


def build_backbone(name: str, **options: Any) -> nn.Module:
    """An untrained backbone by its name, e.g. "r3d"; `options` are the backbone's own, e.g. width=2.

    Foreign ones take size=112 and num_frames=16, the clip that they will be given.
    Raises InputError for an unknown name or option.
    """
    build = builder(name)
    taken = inspect.signature(build).parameters
    if strange := sorted(set(options) - set(taken)):
        own = ", ".join(option for option in taken if option != "in_channels") or "none"
        raise InputError(f"backbone '{name}' has no option {', '.join(strange)}; those it has: {own}")
    network = build(**options)
    if name.removesuffix(TWIN) in BACKBONES and name.endswith(TWIN):
        from unreel.models.inflate import two_dimensional

        return two_dimensional(network)
    return network


def builder(name: str) -> Callable[..., nn.Module]:
    """The function that builds a backbone (of a twin, its three-dimensional original)."""
    if name.startswith(TRANSFORMERS) or is_dotted(name):  # imported here, so that plain names stay cheap
        from unreel.models import foreign

        if is_dotted(name):
            return partial(foreign.own_module, name)
        return partial(foreign.transformer, name.removeprefix(TRANSFORMERS))
    if name.removesuffix(TWIN) not in BACKBONES:
        raise unknown("backbone", name, BACKBONES)
    build: Callable[..., nn.Module] = importlib.import_module(f"{__name__}.{name.removesuffix(TWIN)}").build
    return build
